"""The mend of pynetdicom's pausing, and the deadline."""

import socket
import threading
import time

import pytest

from pneumoscope.delivery import mended
from pneumoscope.delivery.deadline import Deadline
from pneumoscope.delivery.mended import Gate


def test_clear_returns_only_when_the_thread_is_held() -> None:
    gate, over, loose = Gate(), threading.Event(), threading.Event()

    def reactor() -> None:
        while not over.is_set():
            gate.wait()
            loose.set()
            time.sleep(0.0005)
            loose.clear()

    thread = threading.Thread(target=reactor)
    thread.start()
    try:
        for _ in range(200):
            gate.clear()
            assert not loose.is_set()
            time.sleep(0.0002)
            assert not loose.is_set()
            gate.set()
    finally:
        over.set()
        gate.set()
        thread.join()


def test_a_dead_thread_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mended, "PATIENCE_S", 0.05)
    gate = Gate()
    gate.clear()
    assert not gate.is_set()
    assert not gate.wait(0.01)


def test_the_deadline_wakes_who_waits_on_the_socket() -> None:
    ours, theirs = socket.socketpair()
    began = time.monotonic()
    with ours, theirs, Deadline(0.2) as deadline:
        deadline.guard(ours)
        assert ours.recv(1) == b""
        assert deadline.expired
    assert time.monotonic() - began < 2


def test_a_socket_that_comes_after_the_deadline_is_shut_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.01) as deadline:
        time.sleep(0.05)
        deadline.guard(ours)
        assert ours.recv(1) == b""


def test_in_time_nothing_is_shut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Deadline(0.1) as deadline:
            deadline.guard(ours)
        time.sleep(0.2)
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
