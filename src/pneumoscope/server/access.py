"""Who gets in. Every route refuses by default; what is open to all is listed here.

Programs show a token, people a session; this machine gets in by itself only where the settings trust it. Requests that change
something must come from our own pages.
"""

import ipaddress
import time
from dataclasses import dataclass
from urllib.parse import quote

import anyio.to_thread
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope.config import Settings
from pneumoscope.server import forgery
from pneumoscope.server.cookies import Jar
from pneumoscope.server.credentials import Programs, Sessions, ThisMachine
from pneumoscope.server.guests import ENTRANCE, Guests, unkept
from pneumoscope.server.problems import answer
from pneumoscope.server.rights import ALL_ROLES, FREE
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import Store, audit

__all__ = ["Access", "Visitor"]

OPEN = frozenset({"/health"})
#: Where nobody is anybody yet, and may choose a language all the same.
ENTRANCES = frozenset(path for path in FREE if path.startswith("/login")) | {"/comfort"}
#: Where a person may go whose password must be changed.
ACCOUNT, LOGOUT = "/account", "/logout"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Refusals of one address are noted once in this time: an attacker must not fill the disk with them.
NOTE_EVERY_S = 10.0
_FORM, _LARGEST_FORM_BYTES = "application/x-www-form-urlencoded", 65_536
log = structlog.get_logger()


@dataclass(frozen=True)
class Refusal:
    """The answer, and a sentence for the audit trail; empty where nothing was tried."""

    response: Response
    told: str = ""


class Access:
    """ASGI middleware that lets through or refuses."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store) -> None:
        self._app, self._store, self._people = app, store, settings.people
        self._programs, self._this_machine = Programs(settings.http), ThisMachine(settings)
        self._sessions = Sessions(settings.people, store, Jar(settings.http.port))
        self._guests = Guests(store, Jar(settings.http.port))
        self._proxies = [ipaddress.ip_network(network) for network in settings.http.proxies]
        self._noted: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at each request before any route sees it."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        address = self._look_behind_proxies(scope, headers, peer)
        refusal = _wrong_form(scope, headers) or _other_site(scope, headers)
        if refusal is None:
            try:
                visitor = await self._who(scope, headers, peer=peer, address=address)
            except (OperationalError, InterfaceError):
                away = answer(503, "database-unreachable", "The database does not answer.", {"Retry-After": "10"})
                await _refuse(scope, receive, send, away)
                return
            refusal = self._stranger(scope, headers, peer) if visitor is None else _must_change(scope, headers, visitor)
            if refusal is None and visitor is not None:
                meant = True
                if visitor.session_id and not _is_harmless(scope):
                    meant, receive = await forgery.is_meant(headers, receive, visitor.csrf)
                if meant:
                    scope["visitor"] = visitor
                    await self._app(scope, receive, unkept(send) if visitor.granted else send)
                    return
                refusal = Refusal(answer(403, "not-our-form", "The form is not of this session; load its page again."))
        assert refusal is not None
        if refusal.told:
            await self._note(address, refusal.told)
        await _refuse(scope, receive, send, refusal.response)

    async def _who(self, scope: Scope, headers: Headers, *, peer: str, address: str) -> Visitor | None:
        if scope["path"] in ENTRANCES or scope["path"].startswith(("/static/", ENTRANCE)):
            return Visitor(actor="", address=address)
        if authorization := headers.get("authorization"):
            return self._programs.find(authorization, address)
        if "cookie" in headers:
            visitor = await anyio.to_thread.run_sync(self._sessions.find, HTTPConnection(scope), address)
            if visitor is None:
                visitor = await anyio.to_thread.run_sync(self._guests.find, HTTPConnection(scope), address)
            if visitor is not None:
                return visitor
        if self._this_machine.calls(peer, headers) and self._this_machine.is_called(headers.get("host", "")):
            return Visitor(actor="this machine", address=address, roles=ALL_ROLES)
        return None

    def _stranger(self, scope: Scope, headers: Headers, peer: str) -> Refusal:
        """The answer to someone who is nobody."""
        if self._this_machine.calls(peer, headers) and "authorization" not in headers:
            text = "This server does not go by that name."
            return Refusal(answer(421, "wrong-host", text), "Asked for by a name that is not ours.")
        if self._people.ways != "none" and _is_page(scope, headers) and "authorization" not in headers:
            return Refusal(RedirectResponse(f"/login?next={quote(_place(scope), safe='')}", 303))
        # a browser that is told Basic asks for a password in a window of its own, over the page that lost its session
        basic = "sec-fetch-mode" not in headers or self._people.ways == "none"
        challenge = {"WWW-Authenticate": 'Basic realm="Pneumoscope", charset="UTF-8"' if basic else "Bearer"}
        told = "No valid token was given." if "authorization" in headers else "Neither a token nor a session."
        return Refusal(answer(401, "login-needed", "Log in, or give a token.", challenge), told)

    def _look_behind_proxies(self, scope: Scope, headers: Headers, peer: str) -> str:
        """Who calls: the peer, or whom a proxy of ours names. From here on it is as if there were no proxy."""
        if not self._is_proxy(peer):
            return peer
        if (scheme := headers.get("x-forwarded-proto", "").lower()) in ("http", "https"):
            secure = scheme == "https"
            scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else scheme
        found = peer
        for told in reversed(headers.get("x-forwarded-for", "").split(",")):
            try:
                found = str(ipaddress.ip_address(told.strip()))
            except ValueError:
                break
            if not self._is_proxy(found):
                break
        return found

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._proxies)

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


def _is_harmless(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] in SAFE_METHODS


def _other_site(scope: Scope, headers: Headers) -> Refusal | None:
    # a page of another site can open a websocket as it can post a form
    harmless = scope["type"] == "http" and scope["method"] in SAFE_METHODS
    if harmless or not forgery.is_from_another_site(headers):
        return None
    return Refusal(answer(403, "cross-site", "Another site may not do this."), "Another site tried to act.")


def _wrong_form(scope: Scope, headers: Headers) -> Refusal | None:
    """A form is read into memory, by whoever sends it."""
    if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    length = headers.get("content-length", "")
    if kind == _FORM and not (length.isdigit() and int(length) <= _LARGEST_FORM_BYTES):
        return Refusal(answer(413, "form-too-large", f"A form has at most {_LARGEST_FORM_BYTES} bytes, and says how many."))
    if kind != _FORM and (scope["path"] in ENTRANCES or scope["path"].startswith(ENTRANCE)):
        return Refusal(answer(415, "wrong-media-type", f"Send a form ({_FORM})."))
    return None


def _must_change(scope: Scope, headers: Headers, visitor: Visitor) -> Refusal | None:
    path = scope["path"]
    if not visitor.must_change or path in (LOGOUT, ACCOUNT) or path.startswith(f"{ACCOUNT}/"):
        return None
    if _is_page(scope, headers):
        return Refusal(RedirectResponse(ACCOUNT, 303))
    return Refusal(answer(403, "password-must-change", "The first password must be changed before anything else."))


def _is_page(scope: Scope, headers: Headers) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", "")


def _place(scope: Scope) -> str:
    path, query = (scope.get("raw_path") or scope["path"].encode()), scope.get("query_string", b"")
    return (path + (b"?" + query if query else b"")).decode("latin-1")
