"""Who is taken for dead: one that is silent, and not one that the database keeps from speaking."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import databases
from pneumoscope.store import Store, processes
from pneumoscope.store.schema import process
from pneumoscope.worker.watch import Watch


class Pair:
    """A worker that watches, and a receiver that it watches, by a clock that a test sets."""

    def __init__(self, store: Store) -> None:
        self.store, self.moment_s = store, 1000.0
        with store.database.begin() as db:
            self.worker, self.other = processes.enter(db, "worker"), processes.enter(db, "receiver")
            db.execute(process.update().where(process.c.id == self.other).values(pid=os.getppid()))  # one that runs

    def go(self, watch: Watch, *, seconds: int, worker: bool, other: bool) -> bool:
        """Time passes, in which these can beat; whether the other is taken to live at its end."""
        for _ in range(seconds):
            self.moment_s += 1
            if other:
                with self.store.database.begin() as db:
                    processes.beat(db, self.other)
            if worker:
                watch.beat()
                watch.look_around()
        with self.store.database.look() as db:
            return self.other in [found.id for found in processes.alive(db)]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pair, Watch]]:
    store = databases.store(tmp_path)
    made = Pair(store)
    monkeypatch.setattr("pneumoscope.worker.watch.time", SimpleNamespace(monotonic=lambda: made.moment_s))
    yield made, Watch(SimpleNamespace(store=store, process_id=made.worker), threading.Event())
    store.database.close()


def test_one_that_is_silent_is_taken_for_dead(pair: tuple[Pair, Watch]) -> None:
    both, watch = pair
    assert both.go(watch, seconds=3, worker=True, other=True)
    assert both.go(watch, seconds=5, worker=True, other=False)
    assert not both.go(watch, seconds=3, worker=True, other=False)


def test_a_time_in_which_nobody_could_beat_does_not_count(pair: tuple[Pair, Watch]) -> None:
    both, watch = pair
    assert both.go(watch, seconds=3, worker=True, other=True)
    assert both.go(watch, seconds=60, worker=False, other=False)  # the database is away
    assert both.go(watch, seconds=5, worker=True, other=False)
    assert both.go(watch, seconds=3, worker=True, other=True)
    assert not both.go(watch, seconds=8, worker=True, other=False)
