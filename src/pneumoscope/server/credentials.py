"""How visitors show who they are: programs by tokens, people by sessions, this machine by its address."""

import base64
import binascii
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from pneumoscope.config import Http, People, Settings
from pneumoscope.server import forgery
from pneumoscope.server.cookies import Jar
from pneumoscope.server.rights import ALL_ROLES, Role
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import Store, sessions

_PRINTABLE = re.compile(r"[A-Za-z0-9._@ -]{1,40}")


class Programs:
    """Those that the settings give tokens."""

    def __init__(self, http: Http) -> None:
        full = [(f"token {n}", token, ALL_ROLES) for n, token in enumerate(http.tokens, 1)]
        less = [(program.name, program.token, frozenset(program.roles)) for program in http.programs]
        self._known = [(name, token.encode(), roles) for name, token, roles in full + less]

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, authorization: str, address: str) -> Visitor | None:
        """Who has the token that is given, as a bearer token or as the password of HTTP Basic."""
        scheme, _, credentials = authorization.partition(" ")
        user, given = "", b""
        if scheme.lower() == "bearer":
            given = credentials.strip().encode()
        elif scheme.lower() == "basic":
            try:
                named, _, given = base64.b64decode(credentials, validate=True).partition(b":")
                user = named.decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                return None
        # all are compared, so that time tells nothing
        matches = [(name, roles) for name, token, roles in self._known if hmac.compare_digest(given, token)]
        if not matches:
            return None
        name, roles = matches[0]
        return Visitor(actor=f"{user} ({name})" if _PRINTABLE.fullmatch(user) else name, address=address, roles=roles)


class Sessions:
    """People who have logged in."""

    def __init__(self, people: People, store: Store, jar: Jar) -> None:
        self._people, self._store, self._jar = people, store, jar
        self._limits = limits_of(people)

    def find(self, connection: HTTPConnection, address: str) -> Visitor | None:
        """Whose session it is; looks into the database. A session is in use while its person does something."""
        token = self._jar.session(connection)
        if not token:
            return None
        with self._store.database.look() as db:
            row = sessions.find(db, token, limits=self._limits)
        if row is None or not (self._is_ours(row["issuer"]) if row["issuer"] else self._people.by_password):
            return None
        if sessions.is_stale(row["seen_at"]) and _is_done_by_a_person(connection.headers):
            with self._store.database.begin() as db:
                sessions.touch(db, row["session_id"])
        return Visitor(
            actor=actor_of(login=row["login"], issuer=row["issuer"]),
            address=address,
            roles=known_roles(row["roles"]),
            name=row["name"] or row["login"],
            account_id=row["id"],
            session_id=row["session_id"],
            csrf=forgery.token_of(token),
            must_change=row["must_change"],
        )

    def _is_ours(self, issuer: str) -> bool:
        return self._people.by_openid and issuer == self._people.openid.issuer


class ThisMachine:
    """Where the settings trust it."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = settings.http.trust_this_machine
        self._names = {"localhost", settings.http.host.lower(), socket.gethostname().lower()} - {""}

    def calls(self, peer: str, headers: Headers) -> bool:
        """Whether the peer is this machine, trusted, and speaks for itself."""
        if not self._trusted or "x-forwarded-for" in headers or "forwarded" in headers:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)

    def is_called(self, host: str) -> bool:
        """Whether a Host header is a name of ours, so that no web page reaches us through one of its own (DNS rebinding)."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True  # an address cannot be rebound


def actor_of(*, login: str, issuer: str) -> str:
    """What the audit trail calls a person: nobody at a provider can take the name of a local account."""
    return f"{login} (OpenID Connect)" if issuer else login


def known_roles(names: Iterable[str]) -> frozenset[Role]:
    """An account's roles, without those that this version does not know."""
    known = {role.value for role in Role}
    return frozenset(Role(name) for name in names if name in known)


def limits_of(people: People) -> sessions.Limits:
    """How long sessions last."""
    return sessions.Limits(idle=timedelta(seconds=people.idle_s), longest=timedelta(seconds=people.longest_s))


def _is_done_by_a_person(headers: Headers) -> bool:
    """A page that loads itself anew, or a script that says that it asks by itself, keeps no session alive."""
    by_itself = headers.get("sec-fetch-mode") == "navigate" and "sec-fetch-user" not in headers
    return not by_itself and headers.get("x-background") is None
