"""Who gets in. Every route refuses by default; what is open to all is listed here.

With tokens set, one of them is needed, as a bearer token or as the password of HTTP Basic. Without, only this machine gets in,
and only by a name of this machine, so that no web page can reach the node through a name of its own (DNS rebinding).
"""

import base64
import binascii
import hmac
import ipaddress
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio.to_thread
import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope.config import Settings
from pneumoscope.server.problems import answer
from pneumoscope.server.rights import ALL_ROLES, Right, Role, rights_of
from pneumoscope.store import Store, audit

OPEN = frozenset({"/health"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Refusals of one address are noted once in this time: an attacker must not fill the disk with them.
NOTE_EVERY_S = 10.0
_PRINTABLE = re.compile(r"[A-Za-z0-9._@ -]{1,40}")
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who asks, as the audit trail names them."""

    actor: str
    address: str
    roles: frozenset[Role] = ALL_ROLES

    @property
    def rights(self) -> frozenset[Right]:
        """What the visitor may do."""
        return rights_of(self.roles)


class Access:
    """ASGI middleware that lets through or refuses."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store) -> None:
        self._app, self._store = app, store
        self._tokens = tuple(token.encode() for token in settings.http.tokens)
        self._names = {"localhost", settings.http.host.lower(), socket.gethostname().lower()} - {""}
        self._noted: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at each request before any route sees it."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        address = self._address(scope, headers)
        actor = self._actor(scope, headers)
        refusal = self._refusal(scope, headers, actor)
        if refusal is None:
            scope["visitor"] = Visitor(actor=actor, address=address)
            await self._app(scope, receive, send)
            return
        await self._note(address, refusal[1])
        await _refuse(scope, receive, send, refusal[0])

    def _refusal(self, scope: Scope, headers: Headers, actor: str) -> tuple[Response, str] | None:
        """The answer and the sentence for the audit trail, None where the visitor may pass."""
        if self._tokens and not actor:
            challenge = {"WWW-Authenticate": 'Basic realm="Pneumoscope", charset="UTF-8"'}
            return answer(401, "token-needed", "A token is needed.", challenge), "No valid token was given."
        if not self._tokens and not _is_this_machine(scope, headers):
            text = "Without tokens in the settings only this machine gets in, and not through a proxy."
            return answer(403, "not-this-machine", text), text
        if not self._tokens and not self._is_our_name(headers.get("host", "")):
            return answer(421, "wrong-host", "This server does not go by that name."), "Asked for by a name that is not ours."
        # a page of another site can open a websocket as it can post a form
        harmless = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if not harmless and _is_from_another_site(headers):
            return answer(403, "cross-site", "Another site may not do this."), "Another site tried to act."
        return None

    def _actor(self, scope: Scope, headers: Headers) -> str:
        if not self._tokens:
            return "this machine"
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        user, given = "", b""
        if scheme.lower() == "bearer":
            given = credentials.strip().encode()
        elif scheme.lower() == "basic":
            try:
                name, _, password = base64.b64decode(credentials, validate=True).partition(b":")
                user, given = name.decode("utf-8", "replace"), password
            except (binascii.Error, ValueError):
                return ""
        # all are compared, so that time tells nothing
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        if not any(matches):
            return ""
        token = f"token {matches.index(True) + 1}"
        return f"{user} ({token})" if _PRINTABLE.fullmatch(user) else token

    def _address(self, scope: Scope, headers: Headers) -> str:
        """The peer; behind a proxy on this machine, whom the proxy names."""
        peer = scope["client"][0] if scope.get("client") else ""
        told = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        try:
            if told and self._tokens and ipaddress.ip_address(peer).is_loopback:
                return str(ipaddress.ip_address(told))
        except ValueError:
            pass
        return peer

    def _is_our_name(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True  # an address cannot be rebound

    async def _note(self, address: str, detail: str) -> None:
        moment_s = time.monotonic()
        if moment_s - self._noted.get(address, -NOTE_EVERY_S) < NOTE_EVERY_S:
            return
        if len(self._noted) > 10_000:
            self._noted.clear()
        self._noted[address] = moment_s
        log.warning("A request was refused", address=address, reason=detail)

        def write() -> None:
            with self._store.database.begin() as db:
                audit.record(db, action="access", outcome="refused", address=address, detail=detail)

        await anyio.to_thread.run_sync(write)


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await response(scope, receive, send)


def _is_this_machine(scope: Scope, headers: Headers) -> bool:
    if "x-forwarded-for" in headers or "forwarded" in headers:  # a proxy speaks for someone else
        return False
    try:
        address = ipaddress.ip_address(scope["client"][0] if scope.get("client") else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_from_another_site(headers: Headers) -> bool:
    """Whether a browser says so; other clients send neither header and carry no one else's credentials."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
