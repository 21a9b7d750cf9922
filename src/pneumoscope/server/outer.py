"""The outermost layer: security headers on every answer, one log line for each request, no fault that gets further out."""

import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumoscope.server import ahead
from pneumoscope.server.metrics import REQUESTS, SECONDS
from pneumoscope.server.problems import Problem, answer
from pneumoscope.server.timely import in_time

PAGE_POLICY = (
    f"default-src 'none'; script-src 'self' {ahead.SOURCE}; connect-src 'self'; style-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; form-action 'self'; "
    "frame-ancestors 'self'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",  # the page where people read together has its own
    "Cache-Control": "no-store",  # patients' data
}
#: The stream that pages listen to.
EVENTS = "/events"
log = structlog.get_logger()


class Outer:
    """ASGI middleware around all others."""

    def __init__(self, app: ASGIApp, *, encrypted: bool = False) -> None:
        self._app = app
        self._headers = _HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if encrypted else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun_s = 0, time.monotonic()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, in_time(receive), send_on)
        except ClientDisconnect:
            status = status or 499
        except Problem as fault:  # before any route was reached
            if not status:
                await answer(fault.status_code, fault.code, fault.detail, dict(fault.headers or {}))(scope, receive, send_on)
        except Exception:  # a process boundary: its message may hold a patient's data and goes nowhere
            log.error("A request met a fault of ours", exc_info=True)
            if not status:  # else the server closes the connection, so that the client sees its answer is not whole
                await answer(500, "bug", "It failed by a fault of ours; the log has its kind.")(scope, receive, send_on)
        finally:
            _report(scope, status or 500, time.monotonic() - begun_s)


def _report(scope: Scope, status: int, seconds: float) -> None:
    """Never the path as it was asked for, which may hold anything: the route's pattern, and UIDs of what was found."""
    route = str(getattr(scope.get("route"), "path", "none"))
    REQUESTS.labels(method=_method(scope), route=route, status=str(status)).inc()
    if route != EVENTS:  # it lasts as long as a page is open
        SECONDS.labels(route=route).observe(seconds)
    given = scope.get("path_params", {}) if status < 400 else {}
    ids = {name: value for name, value in given.items() if name in ("study", "series", "instance", "reading_id", "delivery_id")}
    quiet = route in ("/health", "/ready", "/metrics", "/report") and (status < 400 or (route, status) == ("/ready", 503))
    write = log.debug if quiet else log.info
    write("A request was answered", method=_method(scope), route=route, status=status, ms=round(seconds * 1000), **ids)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else "other"
