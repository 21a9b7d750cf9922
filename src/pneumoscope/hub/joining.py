"""Where a hospital joins: the authority's certificate for all, a first certificate for who has a token that was not used."""

from datetime import timedelta
from typing import Annotated

import anyio.to_thread
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.middleware import Middleware

from pneumoscope.config import Hub
from pneumoscope.errors import Rejected
from pneumoscope.hub.addresses import sites_url
from pneumoscope.hub.authority import Authority, read_request
from pneumoscope.hub.reports import MAX_REQUEST_BYTES, read_body, told
from pneumoscope.server import problems
from pneumoscope.server.outer import Outer
from pneumoscope.server.problems import Problem
from pneumoscope.store import Store, attempts, audit, sites

#: Wrong tokens from one address before it has to wait, and how long.
TRIES, PAUSE = 20, timedelta(minutes=15)
_STATUS = {"token-unknown": 403, "token-used": 409, "token-expired": 410}
log = structlog.get_logger()


class Joining(BaseModel):
    """What a node sends to join."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: Annotated[str, Field(min_length=1, max_length=200)]
    csr: Annotated[str, Field(max_length=8192)]


def build(hub: Hub, store: Store, authority: Authority) -> FastAPI:
    """Make the application, which stands before whatever asks people to log in."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, middleware=[Middleware(Outer)])
    problems.install(app)

    @app.get("/fleet/authority")
    def certificate() -> Response:
        """The CA certificate, to be checked against a fingerprint that came another way."""
        return PlainTextResponse(authority.pem, media_type="application/x-pem-file")

    @app.post("/fleet/join")
    async def join(request: Request) -> dict[str, str]:
        """A certificate for a token."""
        content = await read_body(request, limit_bytes=MAX_REQUEST_BYTES)
        try:
            wanted = Joining.model_validate_json(content)
        except ValidationError as fault:
            raise Problem(400, "request-wrong", told(fault)) from None
        address = request.client.host if request.client else ""
        return await anyio.to_thread.run_sync(_join, wanted, address)

    def _join(wanted: Joining, address: str) -> dict[str, str]:
        key = attempts.key("join", address)
        with store.database.begin() as db:
            entered = attempts.enter(db, {key: TRIES}, pause=PAUSE)
        if not entered:
            wait = {"Retry-After": f"{PAUSE.total_seconds():.0f}"}
            raise Problem(429, "too-many-tries", "Too many wrong tokens came from this address; wait a while.", headers=wait)
        try:
            answer = _take_in(wanted, address)
        except Rejected as fault:
            with store.database.begin() as db:
                audit.record(db, action="fleet", outcome="refused", address=address, detail=f"Joining failed ({fault.code}).")
            raise Problem(_STATUS.get(fault.code, 400), fault.code, str(fault)) from None
        with store.database.begin() as db:
            attempts.take_back(db, key)
        return answer

    def _take_in(wanted: Joining, address: str) -> dict[str, str]:
        read_request(wanted.csr)  # a token is not spent on what cannot be signed
        with store.database.begin() as db:
            site = sites.use_token(db, wanted.secret)
            signed, serial, until = authority.sign_site(wanted.csr, site["id"], days=hub.certificate_days)
            sites.joined(db, site["id"], serial=serial, until=until)
            audit.record(db, action="fleet", actor=site["title"], address=address, detail=f"{site['title']} joined.")
        log.info("A site joined", site=site["id"], title=site["title"])
        return {
            "site": site["id"],
            "title": site["title"],
            "province": site["province"],
            "certificate": signed,
            "authority": authority.pem,
            "reports_url": sites_url(hub),
        }

    return app
