"""Multipart, Accept, children, and answers to faults, each by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams
from starlette.requests import Request

import databases
from pneumoscope.children import Children
from pneumoscope.errors import Rejected, RetryLater
from pneumoscope.server import outcomes
from pneumoscope.server import pulse as beating
from pneumoscope.server.dicomweb.accept import DICOM, OCTETS, Offer, choose
from pneumoscope.server.dicomweb.query import parse
from pneumoscope.server.multipart import Parts, media_type_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.pulse import Pulse
from pneumoscope.store import arrivals, now
from pneumoscope.store.schema import arrival
from pneumoscope.store.search import Level
from servers import wait_for

CONTENT = st.lists(st.sampled_from([b"\r\n", b"--", b"b", b"\r\n--", b"x", b"\0\xff", b"-", b"\r", b"\n"]), max_size=12).map(
    b"".join
)


def pieces(whole: bytes, size: int) -> Iterator[bytes]:
    return (whole[start : start + size] for start in range(0, len(whole), size))


@settings(max_examples=300, deadline=None)
@given(contents=st.lists(CONTENT, max_size=4), size=st.integers(1, 40), preamble=st.sampled_from([b"", b"\r\n", b"hello\r\n"]))
def test_parts_come_back_however_the_body_is_cut(contents: list[bytes], size: int, preamble: bytes) -> None:
    boundary = "b0undary"
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\nX: y\r\n\r\n".encode()
    whole = preamble + b"".join(head + content + b"\r\n" for content in contents) + f"--{boundary}--\r\n".encode()
    found = []
    for part in Parts(pieces(whole, size), boundary):
        assert part.media_type == "application/dicom"
        found.append(b"".join(part.content))
    assert found == contents
    for n, _ in enumerate(Parts(pieces(whole, size), boundary), start=1):  # contents need not be looked at
        assert n <= len(contents)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_nonsense_is_a_problem_and_nothing_else(whole: bytes, size: int) -> None:
    try:
        for part in Parts(pieces(whole, size), "b"):
            list(part.content)
    except Problem as fault:
        assert fault.status_code == 400


@given(st.text(max_size=60))
def test_a_content_type_is_understood_or_empty(text: str) -> None:
    media_type, parameters = media_type_of(text)
    assert isinstance(media_type, str)
    assert isinstance(parameters, dict)


def request(accept: str, query: str = "") -> Request:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query.encode(),
        "headers": [(b"accept", accept.encode())],
    }
    return Request(scope)


STORED = Offer(media_type="image/jls", multipart=True, syntaxes=frozenset({"1.2.840.10008.1.2.4.80"}))
PLAIN = Offer(media_type=OCTETS, multipart=True, syntaxes=frozenset({"1.2.840.10008.1.2.1"}))
SINGLE = Offer(media_type=OCTETS, syntaxes=frozenset({"1.2.840.10008.1.2.1"}))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", STORED),
        ("*/*", STORED),
        ("multipart/related", STORED),
        ('multipart/related; type="application/octet-stream"', PLAIN),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", PLAIN),
        ('multipart/related; type="image/*"', STORED),
        ('multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.80', STORED),
        ('multipart/related; type="image/jls"; q=0.1, multipart/related; type="application/octet-stream"; q=0.9', PLAIN),
        ("application/octet-stream", SINGLE),
        ("text/html, application/*;q=0.5", SINGLE),
        ('multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.90', None),
        ("image/jls", None),
        ("text/html", None),
        ("*/*;q=0", None),
        ("*/*;q=x", None),
        (",,;;", None),
    ],
)
def test_what_is_accepted(accept: str, expected: Offer | None) -> None:
    if expected is None:
        with pytest.raises(Problem) as fault:
            choose(request(accept), [STORED, PLAIN, SINGLE])
        assert fault.value.status_code == 406
    else:
        assert choose(request(accept), [STORED, PLAIN, SINGLE])[0] == expected


def test_the_query_goes_before_the_header() -> None:
    assert choose(request("text/html", "accept=application/octet-stream"), [STORED, SINGLE])[0] == SINGLE
    assert choose(request("a/b"), [Offer(media_type="a/b"), Offer(media_type=DICOM)])[0].media_type == "a/b"


def test_a_query_keeps_what_it_is_asked() -> None:
    given_keys = [
        ("PatientName", "A*"),
        ("0020000D", "1.2"),
        ("StudyInstanceUID", "1.3"),
        ("includefield", "00081030,all"),
        ("limit", "5"),
    ]
    asked = parse(given_keys, level=Level.STUDY, path={})
    assert asked.question.keys == {"PatientName": "A*", "StudyInstanceUID": "1.2,1.3"}
    assert (asked.question.limit, asked.question.offset, asked.warnings, asked.everything) == (5, 0, [], True)
    assert "StudyDescription" in asked.included
    with pytest.raises(Problem):
        parse([("StudyInstanceUID", "1.3")], level=Level.SERIES, path={"StudyInstanceUID": "1.2"})
    assert parse([("limit", "99999999")], level=Level.STUDY, path={}).question.limit == 1000
    assert parse([("Modality", "CT")], level=Level.STUDY, path={}).warnings


def test_the_server_loads_no_model_and_its_children_no_server() -> None:
    def loaded(module: str) -> set[str]:
        code = f"import sys, {module}; print(*sys.modules)"
        return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())

    assert not {"onnxruntime", "highdicom", "pneumoscope.pipeline", "pneumoscope.segmentation"} & loaded(
        "pneumoscope.server.app"
    )
    assert not {"fastapi", "sqlalchemy", "uvicorn"} & loaded("pneumoscope.server.child.picture")


def add(a: int, b: int) -> int:
    return a + b


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def refuse() -> None:
    raise Rejected("No.", code="no-pixels")


def blow_up() -> None:
    raise MemoryError("John Doe")


def test_children_that_die_or_hang_are_replaced() -> None:
    children = Children(count=1, limit_s=10)
    try:
        assert children.call(add, 1, b=2) == 3
        for function, code in ((die, "unreadable-object"), (refuse, "no-pixels"), (blow_up, "unreadable-object")):
            with pytest.raises(Rejected) as fault:
                children.call(function)
            assert fault.value.code == code
            assert "Doe" not in str(fault.value)
        with pytest.raises(FileNotFoundError) as gone:
            children.call(os.stat, "/no/such/file")
        assert "such" not in str(gone.value)
        children._limit_s = 0.5
        with pytest.raises(RetryLater):
            children.call(sleep, 60)
        children._limit_s = 10
        assert children.call(add, 2, 2) == 4
    finally:
        children.close()


@pytest.mark.parametrize("name", ["0x20000D", "  20000D", "+020000D", "2_0_000D"])
def test_a_tag_has_one_spelling(name: str) -> None:
    """Who sees to it that a guest asks for one study alone looks for two."""
    asked = parse([("StudyInstanceUID", "1.2.3"), (name, "1.2.4")], level=Level.STUDY, path={})
    assert asked.question.keys == {"StudyInstanceUID": "1.2.3"}
    assert asked.warnings


@pytest.mark.parametrize(("number", "found"), [("3", {"filed": 3}), ("²", None), ("-1", None), ("٣", None)])
def test_an_upload_is_told_of_by_numbers_alone(number: str, found: dict[str, int] | None) -> None:
    told = outcomes.from_query(QueryParams({"filed": number}))
    assert (told and told.counts) == found


def test_an_arrival_that_ends_while_the_database_is_away_is_closed_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beating, "PATIENCE_S", 0.05)
    monkeypatch.setattr(beating, "EVERY_S", 0.05)
    there, away = tmp_path / "there", tmp_path / "away"
    database = databases.sqlite(there / "node.sqlite")
    pulse = Pulse(database)
    pulse.start()
    with database.begin() as db:
        arrival_id = arrivals.open_arrival(db, process_id=pulse.process_id, channel="stow")
    there.rename(away)
    database.close()  # connections that were open would find the file by another way
    pulse.close(arrival_id)
    database.close()
    away.rename(there)

    def is_closed() -> bool:
        with database.look() as db:
            return db.execute(sa.select(arrival.c.id).where(arrivals.is_open(now()))).first() is None

    wait_for(is_closed, what="the arrival to be closed")
    pulse.stop()
    database.close()
