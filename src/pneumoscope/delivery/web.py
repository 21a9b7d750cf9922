"""What all destinations reached by HTTP share: who we are, one exchange with an end in time, and what its failures mean."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from pneumoscope.delivery.connection import Tls, diagnose, explain, too_slow, unreachable
from pneumoscope.delivery.deadline import Deadline
from pneumoscope.errors import OperatorNeeded, PneumoscopeError, RetryLater

MAX_ANSWER_BYTES = 4 * 1024 * 1024
#: Client errors that pass by themselves: timeout, too early, too many requests.
PASSING = frozenset({408, 425, 429})


class Answer(NamedTuple):
    """An HTTP response, read to its end."""

    status: int
    media_type: str  # without parameters, in lower case
    content: bytes


@dataclass(frozen=True, kw_only=True)
class WebPeer:
    """A server reached by HTTP. TLS where ``url`` says https; a bearer ``token`` goes before ``user`` and ``password``."""

    name: str
    url: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = field(default_factory=Tls)
    timeout_s: float = 30  # for each step
    deadline_s: float = 600  # for the whole exchange

    def _exchange(
        self, method: str, path: str, *, headers: Mapping[str, str], content: Iterable[bytes] | bytes | None = None
    ) -> Answer:
        """One request, ``path`` added to the URL. Raises RetryLater or OperatorNeeded unless an answer came, of any status."""
        url = self.url.rstrip("/") + path
        with Deadline(self.deadline_s) as deadline, self._client() as client:
            try:
                extensions = {"trace": _Guard(deadline)}
                with client.stream(method, url, headers=headers, content=content, extensions=extensions) as response:
                    return _read(response)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
                raise (too_slow() if deadline.expired else self._why(fault, url)) from fault

    def _why(self, fault: Exception, url: str) -> PneumoscopeError:
        reason = _explain(fault)
        if reason.code != "peer-aborted" or not self._encrypted:
            return reason
        at = httpx.URL(url)
        return diagnose(at.host, at.port or 443, context=self.tls.context(), timeout_s=self.timeout_s) or reason

    @property
    def _encrypted(self) -> bool:
        return self.url.lower().startswith("https:")

    def _client(self) -> httpx.Client:
        headers = {"Accept-Encoding": "identity"}  # a small answer needs no compression, and a bomb would
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        auth = httpx.BasicAuth(self.user, self.password) if self.user and not self.token else None
        verify = self.tls.context() if self._encrypted else True
        # nothing from the environment: a proxy set for downloads must not see results
        return httpx.Client(verify=verify, auth=auth, headers=headers, timeout=self.timeout_s, trust_env=False)


class _Guard:
    """Tells the deadline which socket is in use (httpcore's trace extension)."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._deadline.guard(info["return_value"].get_extra_info("socket"))


def _read(response: httpx.Response) -> Answer:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise OperatorNeeded(
                f"The peer's answer is longer than {MAX_ANSWER_BYTES // 2**20} MB; is the URL right?", code="peer-answer-odd"
            )
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(response.status_code, media_type, bytes(content))


def _explain(fault: Exception) -> PneumoscopeError:
    if isinstance(fault, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return OperatorNeeded(
            "The URL or the token of the destination cannot be used; http:// or https:// is needed.", code="url-wrong"
        )
    cause = _cause(fault)
    if isinstance(cause, ssl.SSLError):
        return explain(cause)
    if isinstance(fault, httpx.ConnectError | httpx.ConnectTimeout):
        return unreachable(cause or OSError())
    if isinstance(fault, httpx.TimeoutException):
        return RetryLater("The peer did not answer in time.", code="peer-silent")
    if isinstance(fault, httpx.RemoteProtocolError | httpx.DecodingError):
        return RetryLater("The peer broke off, or what it sent is not HTTP.", code="peer-aborted")
    return RetryLater("The peer closed the connection.", code="peer-aborted")


def _cause(fault: BaseException | None) -> OSError | None:
    """The fault of the socket behind one of httpx."""
    while fault is not None:
        if isinstance(fault, OSError):
            return fault
        fault = fault.__cause__ or fault.__context__
    return None


def refusal(status: int, what: str = "") -> PneumoscopeError:
    """The error for a status that is no success. ``what``: more that we know, in our words."""
    message = f"The peer answered with HTTP status {status}."
    if what:
        message = f"The peer answered with HTTP status {status} ({what})."
    if status >= 500 or status in PASSING:
        return RetryLater(message, code=f"http-{status}")
    return OperatorNeeded(message, code=f"http-{status}")
