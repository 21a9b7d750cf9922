"""What browsers are told of STUN and TURN servers, which help them to find a way to one another."""

import base64
import hmac
from collections.abc import Iterable
from datetime import datetime

from pneumoscope.config import IceServer


def told(servers: Iterable[IceServer], *, until: datetime) -> list[dict[str, object]]:
    """As a browser's RTCPeerConnection takes them. ``until``: when the reading together is over, and what is made for it."""
    return [{"urls": list(server.urls), **_entrance(server, until)} for server in servers]


def _entrance(server: IceServer, until: datetime) -> dict[str, object]:
    if server.secret:
        user, password = credentials(server.secret, until=until)
    else:
        user, password = server.user, server.password
    return {"username": user, "credential": password} if user else {}


def credentials(secret: str, *, until: datetime) -> tuple[str, str]:
    """User and password that a TURN server of this secret takes until then (draft-uberti-behave-turn-rest-00, section 2.2)."""
    user = f"{until.timestamp():.0f}"
    return user, base64.b64encode(hmac.digest(secret.encode(), user.encode(), "sha1")).decode()  # SHA-1 is what servers check
