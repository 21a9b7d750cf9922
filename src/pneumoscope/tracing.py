"""Traces by OpenTelemetry, where a collector is set: one for each reading, from the first image to the last confirmation.

A trace bears the id of its reading, so that spans of several processes, and of those that take over after a crash, join in it
without being told of one another. Spans hold names of our own, codes, counts and times: no patient, no UID of a DICOM object,
no AE title. Nothing of OpenTelemetry is imported, and nothing kept, where no collector is set.
"""

import hashlib
import os
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

from pneumoscope import __version__
from pneumoscope.config import Tracing
from pneumoscope.errors import OperatorNeeded, PneumoscopeError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

#: The span that all others of a reading hang under; its key is empty.
ROOT = "reading"
EXPORT_EVERY_MS = 1000
#: Traces are worth no wait: what a collector does not take in this time is lost.
TIMEOUT_S = 5.0
Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class _Exporting:
    processor: "BatchSpanProcessor"
    resource: "Resource"
    share: float


@dataclass
class Span:
    """A step under way: what it is found to be is added while it goes on."""

    code: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)
    #: Of steps within it: name, beginning and end.
    parts: list[tuple[str, datetime, datetime]] = field(default_factory=list)


_exporting: _Exporting | None = None


def require(settings: Tracing) -> None:
    """Raises OperatorNeeded where traces are wanted, and what sends them is not installed."""
    if not settings.url:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ImportError as fault:
        raise OperatorNeeded(
            "tracing.url is set, and what sends traces is not installed: "
            "`.venv/bin/python -m pip install --require-hashes -r requirements/tracing.lock` installs it.",
            code="tracing-not-installed",
        ) from fault


def set_up(settings: Tracing, *, kind: str) -> None:
    """Send the spans of this process, which is of this ``kind``, from now on. Raises OperatorNeeded."""
    global _exporting  # noqa: PLW0603 - as log lines are, spans are of the process
    if not settings.url:
        return
    require(settings)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(
        endpoint=settings.url,
        headers=dict(settings.headers),
        certificate_file=str(settings.authorities) if settings.authorities else None,
        timeout=TIMEOUT_S,
    )
    # our own, and not the process's provider: libraries find that one, and would tell paths and statements, which hold UIDs
    _exporting = _Exporting(
        processor=BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS),
        resource=Resource(
            {
                "service.name": settings.service_name,
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
                "process.pid": os.getpid(),
                "pneumoscope.process": kind,
            }
        ),
        share=settings.share,
    )


def close() -> None:
    """Send what is left, and nothing more."""
    global _exporting  # noqa: PLW0603
    if _exporting:
        _exporting.processor.shutdown()  # type: ignore[no-untyped-call]
    _exporting = None


def is_traced(reading_id: str) -> bool:
    """Whether this process sends spans of this reading; all processes choose the same readings."""
    # of a digest: not every bit of a UUID is random
    place = int.from_bytes(hashlib.sha256(reading_id.encode()).digest()[:8]) / 2**64
    return _exporting is not None and place < _exporting.share


@contextmanager
def span(reading_id: str, name: str, **attributes: Value) -> Iterator[Span]:
    """A step of a reading for as long as the context is open; what it raises is told by its kind."""
    under_way, started_at = Span(attributes=dict(attributes)), datetime.now(UTC)
    try:
        yield under_way
    except BaseException as fault:
        under_way.code = fault.code if isinstance(fault, PneumoscopeError) else type(fault).__name__
        raise
    finally:
        span_id = note(reading_id, name, started_at, datetime.now(UTC), under_way.attributes, code=under_way.code)
        for part, began_at, ended_at in under_way.parts:
            note(reading_id, part, began_at, ended_at, within=span_id)


def note(  # noqa: PLR0913 - each is a part of a span
    reading_id: str,
    name: str,
    started_at: datetime,
    ended_at: datetime,
    attributes: Mapping[str, Value] | None = None,
    *,
    code: str = "",
    key: str | None = None,
    within: int = 0,
) -> int:
    """Send a span that is over; returns its id. ``code``: why it failed. ``within``: the id of the span that it is a part of.

    ``key``: what tells it from others of its name, so that what is noted twice has one id; without, it has an id of its own.
    """
    span_id = _span_id(reading_id, name, str(uuid.uuid4()) if key is None else key)
    if _exporting and is_traced(reading_id):
        _send(_exporting, reading_id, name, (span_id, within), (started_at, ended_at), code, attributes or {})
    return span_id


def probe(settings: Tracing) -> str:
    """Send a trace of nothing; returns what the collector is. Raises OperatorNeeded."""
    require(settings)
    context = ssl.create_default_context(cafile=str(settings.authorities) if settings.authorities else None)
    headers = {"Content-Type": "application/x-protobuf", **settings.headers}
    try:
        answer = httpx.post(settings.url, content=b"", headers=headers, timeout=TIMEOUT_S, verify=context)
    except httpx.HTTPError as fault:
        raise OperatorNeeded("The collector of traces does not answer; they are lost.", code="collector-away") from fault
    if not answer.is_success:
        raise OperatorNeeded(f"The collector of traces answers with status {answer.status_code}.", code="collector-away")
    return f"A collector takes traces at {httpx.URL(settings.url).host}."


def _send(  # noqa: PLR0913, PLR0917 - each is a part of a span
    exporting: _Exporting,
    reading_id: str,
    name: str,
    ids: tuple[int, int],
    moments: tuple[datetime, datetime],
    code: str,
    attributes: Mapping[str, Value],
) -> None:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    def context(span_id: int) -> SpanContext:
        trace_id, flags = uuid.UUID(reading_id).int, TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(trace_id=trace_id, span_id=span_id, is_remote=False, trace_flags=flags)

    span_id, within = ids
    parent = None if name == ROOT else context(within or _span_id(reading_id, ROOT, ""))
    started_ns, ended_ns = (int(moment.timestamp() * 1e9) for moment in moments)
    exporting.processor.on_end(
        ReadableSpan(
            name=name,
            context=context(span_id),
            parent=parent,
            resource=exporting.resource,
            attributes={
                **{f"pneumoscope.{key}": value for key, value in attributes.items()},
                **({"error.type": code} if code else {}),
            },
            status=Status(StatusCode.ERROR if code else StatusCode.UNSET),
            start_time=started_ns,
            end_time=max(started_ns, ended_ns),
            instrumentation_scope=InstrumentationScope("pneumoscope", __version__),
        )
    )


def _span_id(reading_id: str, name: str, key: str) -> int:
    """64 bits, of which not all are zero."""
    return int.from_bytes(hashlib.sha256(f"{reading_id}|{name}|{key}".encode()).digest()[:8]) | 1
