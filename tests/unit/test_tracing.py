"""What a process tells of a reading, and that one that is not asked to tells nothing and imports nothing."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from collector import Collector, attributes, collector
from pneumoscope import tracing
from pneumoscope.config import Tracing
from pneumoscope.errors import OperatorNeeded

READING = "6f1c0d7e-8a55-4b2c-9d3e-0123456789ab"


@pytest.fixture
def taking() -> Iterator[Collector]:
    with collector() as running:
        yield running
        tracing.close()


def test_processes_join_in_one_trace_under_one_root(taking: Collector) -> None:
    began = datetime.now(UTC)
    for kind in ("receiver", "worker", "worker"):  # the second worker takes over what the first one told
        tracing.set_up(Tracing(url=taking.url, headers={"X-Key": "k"}), kind=kind)
        tracing.note(READING, "receive", began, began + timedelta(seconds=1), {"images": 3}, key="a")
        tracing.note(READING, tracing.ROOT, began, began + timedelta(seconds=9), {"outcome": "read"}, key="")
        with tracing.span(READING, "read", attempt=1) as span:
            span.parts.append(("load", began, began))
        tracing.close()
    told = [span for _, span in taking.told()]
    assert {span.trace_id.hex() for span in told} == {READING.replace("-", "")}
    (root,) = {span.span_id for span in told if span.name == "reading"}
    assert len({span.span_id for span in told if span.name == "receive"}) == 1  # what is told again is the same
    reads = {span.span_id for span in told if span.name == "read"}
    assert len(reads) == 3  # done again, it is another
    assert {span.name: span.parent_span_id for span in told if span.name != "load"} == {
        "reading": b"",
        "receive": root,
        "read": root,
    }
    assert {span.parent_span_id for span in told if span.name == "load"} == reads
    assert all(headers["X-Key"] == "k" for headers in taking.headers)


def test_a_fault_is_told_by_its_code_and_not_in_its_words(taking: Collector) -> None:
    tracing.set_up(Tracing(url=taking.url), kind="worker")
    with pytest.raises(OperatorNeeded), tracing.span(READING, "read"):
        raise OperatorNeeded("Doe^John is at /home/doe", code="disk-full")
    with pytest.raises(ValueError, match="Doe"), tracing.span(READING, "settle"):
        raise ValueError("Doe^John")
    tracing.close()
    told = {span.name: span for _, span in taking.told()}
    assert {name: attributes(span) for name, span in told.items()} == {
        "read": {"error.type": "disk-full"},
        "settle": {"error.type": "ValueError"},
    }
    assert {span.status.code for span in told.values()} == {2}
    assert not any(b"Doe" in body or b"doe" in body for body in taking.bodies)


def test_a_share_of_readings_is_traced_and_every_process_chooses_the_same(taking: Collector) -> None:
    ids = [str(uuid.UUID(int=uuid.uuid5(uuid.NAMESPACE_OID, str(n)).int, version=4)) for n in range(400)]
    chosen = []
    for kind in ("receiver", "worker"):
        tracing.set_up(Tracing(url=taking.url, share=0.25), kind=kind)
        chosen.append([reading_id for reading_id in ids if tracing.is_traced(reading_id)])
        tracing.close()
    assert chosen[0] == chosen[1]
    assert 70 < len(chosen[0]) < 130
    assert not any(map(tracing.is_traced, ids))  # nobody set it up


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_is_imported_where_no_collector_is_set() -> None:
    told = in_a_process(
        "import sys, pneumoscope.worker.process, pneumoscope.receiver.process\n"
        "from pneumoscope import tracing; from pneumoscope.config import Tracing\n"
        "tracing.set_up(Tracing(), kind='worker')\n"
        "with tracing.span('x', 'read'): pass\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    assert told == "[]"


def test_what_is_not_installed_is_named() -> None:
    told = in_a_process(
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from pneumoscope import tracing; from pneumoscope.config import Tracing\n"
        "from pneumoscope.errors import OperatorNeeded\n"
        "for act in (tracing.require, tracing.probe, lambda given: tracing.set_up(given, kind='worker')):\n"
        "    try: act(Tracing(url='http://127.0.0.1:9/v1/traces'))\n"
        "    except OperatorNeeded as fault: print(fault.code, 'tracing.lock' in str(fault))"
    )
    assert told.splitlines() == ["tracing-not-installed True"] * 3


def test_a_collector_is_tried(taking: Collector) -> None:
    assert "127.0.0.1" in tracing.probe(Tracing(url=taking.url))
    with pytest.raises(OperatorNeeded) as fault:
        tracing.probe(Tracing(url="http://127.0.0.1:9/v1/traces"))
    assert fault.value.code == "collector-away"
