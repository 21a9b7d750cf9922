"""A bar per stage on the terminal's error stream, and how long each stage took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

WORDS = {
    "find": "finding images",
    "load": "loading images",
    "segment": "segmenting",
    "measure": "measuring",
    "build": "making results",
}


class StageBars:
    """Takes the steps of stages as they come; a stage ends when the next begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._began_s = time.monotonic()
        self._current = ""
        self.seconds: dict[str, float] = {}

    def step(self, stage: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` steps of a stage are done."""
        if stage != self._current:
            self.finish()
            self._current = stage
            self._tasks[stage] = self._progress.add_task(WORDS[stage], total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)

    def finish(self) -> None:
        """End the stage that is running."""
        now_s = time.monotonic()
        if self._current:
            self.seconds[self._current] = self.seconds.get(self._current, 0.0) + now_s - self._began_s
            self._progress.stop_task(self._tasks[self._current])
        self._began_s = now_s
        self._current = ""


@contextmanager
def stage_bars(*, visible: bool) -> Iterator[StageBars]:
    """Show bars while the context is open."""
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as progress:
        bars = StageBars(progress)
        yield bars
        bars.finish()


@contextmanager
def case_bar(title: str = "scoring cases") -> Iterator[Callable[[int, int], None]]:
    """One bar for many cases; yields a function that takes (done, total)."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
