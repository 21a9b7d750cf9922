"""The line to the hub: always called from here, over mutual TLS, and to no other address."""

import hashlib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from pneumoscope.errors import Rejected, RetryLater
from pneumoscope.fleet.messages import Offer, Orders, Report
from pneumoscope.member.membership import Membership, load_key, request

TIMEOUT_S = 30.0
#: An answer that takes longer as a whole, or is larger, is none.
DEADLINE_S = 120.0
BUNDLE_DEADLINE_S = 3600.0
MAX_ANSWER_BYTES = 2**20
#: Far above any bundle; an offer of more is not fetched.
MAX_BUNDLE_BYTES = 2**31
_MADE = httpx.codes.OK, httpx.codes.CREATED
_REFUSED = httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE, httpx.codes.UNPROCESSABLE_ENTITY


class BadBundle(Rejected):
    """A bundle that is not what was offered; it is not run."""

    default_code = "bundle-altered"


class _Renewed(BaseModel):
    certificate: str


class Line:
    """Calls of a member. Each raises RetryLater where the hub is away, is not the hub, or does not answer as one."""

    def __init__(self, membership: Membership, *, proxy: str = "") -> None:
        self._membership = membership
        self._proxy = proxy

    def report(self, report: Report) -> Orders:
        """Say how we are and what was counted; hear what is wished."""
        content = self._post("/report", report.model_dump_json().encode())
        try:
            orders = Orders.model_validate_json(content)
        except ValidationError:
            raise _odd("an answer that is no orders") from None
        if orders.site != self._membership.facts.site:
            raise _odd("orders for another site")
        return orders

    def renew(self) -> str:
        """A new certificate for our key, PEM."""
        csr = request(load_key(self._membership.folder))
        try:
            return _Renewed.model_validate_json(self._post("/renew", _Json(csr=csr).model_dump_json().encode())).certificate
        except ValidationError:
            raise _odd("an answer that is no certificate") from None

    def fetch(self, offer: Offer, target: Path) -> None:
        """Write a bundle's zip to ``target``. Raises BadBundle for other bytes than were offered."""
        if offer.size_bytes > MAX_BUNDLE_BYTES:
            raise BadBundle(
                f"The bundle has {offer.size_bytes} bytes; at most {MAX_BUNDLE_BYTES} are fetched.", code="bundle-too-large"
            )
        digest, size, until_s = hashlib.sha256(), 0, time.monotonic() + BUNDLE_DEADLINE_S
        with self._answer("GET", f"/bundles/{offer.sha256}") as answer, target.open("wb") as file:
            for block in answer.iter_bytes(2**20):
                size += len(block)
                if size > offer.size_bytes:
                    break
                digest.update(block)
                file.write(block)
                if time.monotonic() > until_s:
                    raise _odd("a bundle too slowly")
        if size != offer.size_bytes or digest.hexdigest() != offer.sha256:
            raise BadBundle("The bundle that the hub sent is not the one that it offered: its digest or size is another.")

    def _post(self, path: str, body: bytes) -> bytes:
        with self._answer("POST", path, content=body, headers={"Content-Type": "application/json"}) as answer:
            return _whole(answer)

    @contextmanager
    def _answer(self, method: str, path: str, **more: Any) -> Iterator[httpx.Response]:  # noqa: ANN401 - httpx's options
        url = self._membership.facts.reports_url.rstrip("/") + path
        with reaching(), client(self._membership.tls(), proxy=self._proxy) as http, http.stream(method, url, **more) as answer:
            if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise RetryLater("The hub does not know this site's certificate, or no more.", code="hub-refuses")
            if answer.status_code in _REFUSED:
                status = answer.status_code
                raise RetryLater(f"The hub refuses what this site sends (status {status}).", code="report-refused")
            if answer.status_code not in _MADE:
                raise _odd(f"status {answer.status_code}")
            yield answer


class _Json(BaseModel):
    csr: str


def client(tls: ssl.SSLContext, *, proxy: str = "") -> httpx.Client:
    """A client that goes nowhere but where it is sent: no redirects, no proxy but that of the settings."""
    return httpx.Client(verify=tls, trust_env=False, proxy=proxy or None, timeout=TIMEOUT_S, follow_redirects=False)


@contextmanager
def reaching() -> Iterator[None]:
    """Faults on the way as ours, by what a person would do about them."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as fault:
        text = _chain(fault)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            late = "expired" in text or "not yet valid" in text
            why = (
                "its certificate does not hold at the time of this machine's clock"
                if late
                else "its authority is not the hub's"
            )
            raise RetryLater(f"What answers is not the hub: {why}.", code="hub-not-genuine") from None
        if "ALERT" in text or "alert" in text:
            raise RetryLater("The hub refuses this site's certificate.", code="hub-refuses") from None
        raise RetryLater(f"The hub cannot be reached ({type(fault).__name__}).", code="hub-unreachable") from None


def _chain(fault: BaseException) -> str:
    found: list[str] = []
    at: BaseException | None = fault
    while at is not None and len(found) < 10:
        found.append(str(at))
        at = at.__cause__ or at.__context__
    return " ".join(found)


def _whole(answer: httpx.Response) -> bytes:
    content, until_s = bytearray(), time.monotonic() + DEADLINE_S
    for block in answer.iter_bytes():
        content += block
        if len(content) > MAX_ANSWER_BYTES or time.monotonic() > until_s:
            raise _odd("too much, or too slowly")
    return bytes(content)


def whole(answer: httpx.Response) -> bytes:
    """The body of an answer, where it is not too large and comes in time. Raises RetryLater."""
    return _whole(answer)


def _odd(what: str) -> RetryLater:
    return RetryLater(f"The hub gave {what}; wanted is what a hub answers.", code="hub-answer")
