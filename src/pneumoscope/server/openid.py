"""OpenID Connect: people log in at a provider, which says who they are and what they may do here.

Authorization code flow with PKCE, state and nonce, by Authlib, which also checks the ID token. What must be remembered while
the person is away lies in a cookie of theirs: it protects them alone, so nothing is signed.
"""

import base64
import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio.to_thread
import sqlalchemy as sa
import structlog
from fastapi import Request
from starlette.responses import RedirectResponse, Response

from pneumoscope.config import OpenId
from pneumoscope.server.cookies import Jar
from pneumoscope.server.credentials import actor_of
from pneumoscope.server.desk import Desk
from pneumoscope.server.journal import note
from pneumoscope.store import accounts

BACK = "/login/openid/back"
TIMEOUT_S = 10.0
#: Signatures that only the provider can make; ``none`` and those by a shared secret are not among them.
_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"})
log = structlog.get_logger()


class NotLetIn(Exception):
    """Why someone could not log in: a code for the page, a sentence for the audit trail."""

    def __init__(self, code: str, told: str, *, status: int = 401, actor: str = "") -> None:
        super().__init__(told)
        self.code, self.told, self.status, self.actor = code, told, status, actor


class Provider:
    """One issuer, whose metadata are fetched when they are first needed."""

    def __init__(self, settings: OpenId) -> None:
        # only where it is used: it takes long to import
        from authlib.common.errors import AuthlibBaseError
        from authlib.integrations.starlette_client import OAuth
        from httpx2 import HTTPError
        from joserfc.errors import JoseError

        self._settings = settings
        self._issuer = settings.issuer
        #: What an ID token must say besides being signed, in time, and made for this login.
        self.must = {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.client_id},
        }
        trust = ssl.create_default_context(cafile=str(settings.authorities)) if settings.authorities else True
        self.client = OAuth().register(
            "openid",
            client_id=settings.client_id,
            client_secret=settings.client_secret or None,
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(dict.fromkeys(["openid", *settings.scope.split()])),
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if settings.client_secret else "none",
                "timeout": TIMEOUT_S,
                "verify": trust,
            },
        )
        self._faults = (AuthlibBaseError, JoseError, HTTPError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)

    async def send_there(self, request: Request, jar: Jar, *, place: str) -> Response:
        """To the provider's login; it sends the person back. Raises NotLetIn."""
        request.scope["session"] = {"place": place}
        try:
            await self.metadata()
            response: Response = await self.client.authorize_redirect(request, f"{_root(request)}{BACK}")
        except self._faults as fault:
            raise _away(fault) from fault
        jar.put_way(request, response, base64.urlsafe_b64encode(json.dumps(request.session).encode()).decode())
        return response

    async def take_back(self, request: Request, desk: Desk) -> tuple[sa.RowMapping, str]:
        """The account of the person who comes back, and where they wanted to go. Raises NotLetIn."""
        request.scope["session"] = _opened(desk.jar.way(request))
        place = str(request.session.get("place", "/"))
        try:
            await self.metadata()
            token = await self.client.authorize_access_token(request, claims_options=self.must)
            claims = token.get("userinfo")
            if claims is None:
                raise NotLetIn("openid-refused", "The provider gave no ID token.")
            if _values(claims, self._settings.role_claim) is None:
                more = await self.client.userinfo(token=token)
                if more.get("sub") != claims["sub"]:
                    raise NotLetIn("openid-refused", "The provider tells of another person than it let in.")
                claims = {**more, **claims}
        except self._faults as fault:
            log.warning("A login by OpenID Connect failed", fault=type(fault).__name__, why=_word(getattr(fault, "error", "")))
            raise NotLetIn("openid-refused", f"OpenID Connect failed: {type(fault).__name__}.") from fault
        return await anyio.to_thread.run_sync(partial(self._account, request, desk, claims)), place

    async def send_out(self, request: Request) -> Response:
        """To the provider, to log out there too; without its knowledge of a way, back to the login. Raises NotLetIn."""
        try:
            if "end_session_endpoint" not in await self.metadata():
                return RedirectResponse("/login", 303)
            back = {"post_logout_redirect_uri": f"{_root(request)}/login", "client_id": self._settings.client_id}
            found = await self.client.create_logout_url(**back)
        except self._faults as fault:
            raise _away(fault) from fault
        return RedirectResponse(found["url"], 303)

    async def metadata(self) -> Mapping[str, Any]:
        """What the issuer says of itself. Raises ValueError where it is another."""
        found: dict[str, Any] = await self.client.load_server_metadata()
        if found.get("issuer") != self._issuer:
            self.client.server_metadata.clear()
            raise ValueError("the issuer calls itself otherwise")
        told = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [name for name in told if name in _ALGORITHMS]
        return found

    def _account(self, request: Request, desk: Desk, claims: Mapping[str, Any]) -> sa.RowMapping:
        subject = str(claims["sub"])[:255]
        login = _plain(claims.get("preferred_username") or claims.get("email") or "") or _plain(subject)
        name = _plain(claims.get("name") or login)
        told = _values(claims, self._settings.role_claim) or []
        roles = sorted({role for value in told for role in self._settings.roles.get(value, ())})
        with desk.store.database.begin() as db:
            row = accounts.find(db, issuer=self._issuer, subject=subject)
            if row is not None:
                login = row["login"]
            elif accounts.is_taken(db, login, issuer=self._issuer):  # providers may give a name again, and people change theirs
                login = f"{login[:70]} {hashlib.sha256(subject.encode()).hexdigest()[:8]}"
            if row is None and roles:
                accounts.add(db, login=login, name=name, roles=roles, issuer=self._issuer, subject=subject)
            elif row is not None:
                accounts.describe(db, row["id"], name=name, roles=roles)
            found = accounts.find(db, issuer=self._issuer, subject=subject)
        actor = actor_of(login=login, issuer=self._issuer)
        if set(row["roles"] if row is not None else ()) != set(roles):
            note(request, "people", actor=actor, detail=f"The provider gives the roles: {', '.join(roles) or 'none'}.")
        if found is None or not roles:
            raise NotLetIn("no-role", "The provider gives no role that counts here.", status=403, actor=actor)
        if found["disabled"]:
            raise NotLetIn("shut", "The account is shut.", status=403, actor=actor)
        return found


def _away(fault: Exception) -> NotLetIn:
    log.warning("The provider of OpenID Connect cannot be used", fault=type(fault).__name__)
    return NotLetIn("openid-away", f"The provider cannot be used: {type(fault).__name__}.", status=503)


def _root(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _opened(cookie: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(cookie))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _values(claims: Mapping[str, Any], path: str) -> list[str] | None:
    """The words of a claim, None where there is none."""
    found: Any = claims
    if path in claims:  # some have dots in their names, such as URLs
        found = claims[path]
    else:
        for part in path.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
    return [str(value) for value in found] if isinstance(found, list) else [str(found)]


def _word(error: object) -> str:
    """One of the protocol's errors, such as ``invalid_client``; anything may stand where it should."""
    return str(error) if re.fullmatch("[a-z_]{1,40}", str(error)) else ""


def _plain(value: object) -> str:
    """A name as it may stand in a page, a log and the audit trail."""
    return "".join(character for character in str(value) if character.isprintable())[:80]
