"""Requests that another site makes in a person's name: a browser sends its cookies with them, but not our token.

A script shows that it is ours by a header that other sites cannot send (``X-Requested-With: pneumoscope``), a form by a hidden
field ``csrf`` near its beginning.
"""

import hashlib
import hmac
import re
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive

_HEADER, _WORD = "x-requested-with", "pneumoscope"
#: As a form has it, urlencoded or multipart.
_FIELD = re.compile(rb'csrf(?:=|"\r\n\r\n)([0-9a-f]{64})')
#: How far into a body the field is looked for, and how long.
_LOOK_BYTES, _PATIENCE_S = 4096, 30.0


def token_of(session_token: str) -> str:
    """What forms of a session hold: it tells nothing of the session's token."""
    return hashlib.sha256(b"csrf:" + session_token.encode()).hexdigest()


def is_from_another_site(headers: Headers) -> bool:
    """Whether a browser says so; other clients send neither header and carry no one else's credentials."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


async def is_meant(headers: Headers, receive: Receive, token: str) -> tuple[bool, Receive]:
    """Whether a page of ours made the request, and a ``receive`` that gives its body from the beginning."""
    if headers.get(_HEADER, "").lower() == _WORD:
        return True, receive
    seen: list[Message] = []
    start = b""
    with anyio.move_on_after(_PATIENCE_S):
        while len(start) < _LOOK_BYTES and not _FIELD.search(start):
            message = await receive()
            seen.append(message)
            start += message.get("body", b"")
            if not message.get("more_body", False):
                break
    found = _FIELD.search(start)

    async def receive_again() -> Message:
        return seen.pop(0) if seen else await receive()

    return bool(found and hmac.compare_digest(found[1], token.encode())), receive_again
