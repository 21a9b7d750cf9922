"""The listener of the sites: whoever gets here showed a certificate of our authority; whose it is, is looked up each time."""

import json
from typing import Annotated, Any, cast

import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.middleware import Middleware

from pneumoscope.errors import PneumoscopeError
from pneumoscope.fleet.messages import EDGES, VERSION, Histogram, Report, Window
from pneumoscope.hub.authority import identity
from pneumoscope.hub.metrics import REPORTS
from pneumoscope.hub.post import Post
from pneumoscope.hub.taking import Said
from pneumoscope.server import problems
from pneumoscope.server.outer import Outer
from pneumoscope.server.problems import Problem
from pneumoscope.server.timely import Timely
from pneumoscope.store import rollouts, sites
from pneumoscope.store.sites import Caller

#: A report holds at most 50 windows of some 10 kB.
MAX_REPORT_BYTES, MAX_REQUEST_BYTES = 2 * 2**20, 16 * 2**10
_CERTIFICATE = "certificate"


class Protocol(Timely):
    """HTTP whose requests know the certificate of the peer (DER), in ``scope["state"]``."""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as its base has it
        """The handshake is over: what the peer showed is verified."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, _CERTIFICATE: tls.getpeercert(binary_form=True) if tls else None}


class Renewal(BaseModel):
    """A site's wish for another certificate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csr: Annotated[str, Field(max_length=8192)]


def build(post: Post) -> FastAPI:
    """Make the application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, middleware=[Middleware(Outer)])
    app.state.post = post
    problems.install(app)
    app.add_api_route("/report", report, methods=["POST"])
    app.add_api_route("/renew", renew, methods=["POST"])
    app.add_api_route("/bundles/{sha256}", bundle, methods=["GET"])
    return app


def caller_of(request: Request) -> Caller:
    """Who calls. Raises Problem."""
    der = getattr(request.state, _CERTIFICATE, None)
    try:
        site, serial = identity(der) if der else ("", "")
    except (PneumoscopeError, ValueError):
        site, serial = "", ""
    if not site:
        raise Problem(403, "site-unknown", "The certificate names no site.")
    return Caller(site=site, serial=serial)


def _post(request: Request) -> Post:
    return cast(Post, request.app.state.post)


AtPost = Annotated[Post, Depends(_post)]
Calling = Annotated[Caller, Depends(caller_of)]


async def report(request: Request, post: AtPost, caller: Calling) -> Response:
    """Keep a report and answer it."""
    try:
        said = Said(caller=caller, report=_parse(await read_body(request, limit_bytes=MAX_REPORT_BYTES)))
        orders = await post.taking.take(said)
    except PneumoscopeError as fault:
        REPORTS.labels(fault.code).inc()
        raise _problem(fault) from None
    except Problem as fault:
        REPORTS.labels(fault.code).inc()
        raise
    REPORTS.labels("taken").inc()
    return Response(orders.model_dump_json(), media_type="application/json")


async def renew(request: Request, post: AtPost, caller: Calling) -> dict[str, str]:
    """Another certificate for a site that has one."""
    content = await read_body(request, limit_bytes=MAX_REQUEST_BYTES)
    try:
        wanted = Renewal.model_validate_json(content)
    except ValidationError as fault:
        raise Problem(400, "request-wrong", told(fault)) from None

    def sign() -> str:
        with post.store.database.begin() as db:
            sites.check(db, caller)
            certificate, serial, until = post.authority.sign_site(wanted.csr, caller.site, days=post.certificate_days)
            sites.renewed(db, caller.site, serial=serial, until=until)
        return certificate

    try:
        return {"certificate": await anyio.to_thread.run_sync(sign)}
    except PneumoscopeError as fault:
        raise _problem(fault) from None


def bundle(post: AtPost, caller: Calling, sha256: str) -> Response:
    """The zip of an offered bundle."""
    try:
        with post.store.database.look() as db:
            sites.check(db, caller)
            found = rollouts.find_offer(db, sha256=sha256)
    except PneumoscopeError as fault:
        raise _problem(fault) from None
    if found is None:
        raise Problem(404, "no-such-bundle", "This hub offers no such bundle.")
    path = post.store.files.path(found["key"])
    if not path.is_file():
        raise FileNotFoundError
    return FileResponse(path, media_type="application/zip")


async def read_body(request: Request, *, limit_bytes: int) -> bytes:
    """The whole body. Raises Problem where it is longer than allowed."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit_bytes:
            raise Problem(413, "body-too-large", f"The body is larger than the {limit_bytes} bytes that are allowed.")
    return bytes(content)


def told(fault: ValidationError) -> str:
    """What is wrong and where, without what was sent."""
    wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors(include_input=False)]
    return f"It cannot be understood: {'; '.join(wrong[:5])}{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}."


def _parse(content: bytes) -> Report:
    try:
        found = Report.model_validate_json(content)
    except ValidationError as fault:
        try:
            version = json.loads(content)["version"]
        except (ValueError, KeyError, TypeError, RecursionError):
            version = VERSION
        if isinstance(version, int) and version != VERSION:
            sentence = f"The report has version {version}; this hub knows version {VERSION} alone."
            raise Problem(400, "report-version", sentence) from None
        raise Problem(400, "report-wrong", told(fault)) from None
    for number, window in enumerate(found.windows):
        if wrong := _wrong(window):
            raise Problem(400, "report-wrong", f"Window {number} of the report: {wrong}.")
    return found


def _wrong(window: Window) -> str:
    """What the model of a window cannot say: ends after starts, histograms of as many bins as their edges make."""
    if window.end <= window.start:
        return "it ends before it starts"
    named = [("wait_s", window.wait_s), *window.inputs.items()]
    for model in window.models:
        named += [(name, getattr(model, name)) for name in ("score", "involved_percent", "reading_s")]
        if model.paired:
            named.append(("score_difference", model.paired.score_difference))
    for name, histogram in named:
        if name not in EDGES:
            return "an input is none of those known"
        if not _fits(histogram, name):
            return f"{name} has {len(histogram.bins)} bins, not {len(EDGES[name]) + 1}"
    return ""


def _fits(histogram: Histogram, name: str) -> bool:
    return len(histogram.bins) == len(EDGES[name]) + 1


def _problem(fault: PneumoscopeError) -> Problem:
    status = {"site-unknown": 403, "csr-wrong": 400}.get(fault.code, 503 if fault.exit_status in (4, 5) else 400)
    return Problem(status, fault.code, str(fault), headers={"Retry-After": "60"} if status == 503 else None)
