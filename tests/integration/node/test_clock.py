"""The wall clock is set, by hours, while the node runs: libfaketime gives its processes another one."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from test_faults import all_is_well
from test_path import deliveries, read

from pneumoscope.config import load_settings
from pneumoscope.node.check import Line, Verdict, check
from servers import Node, Orthanc, renamed, wait_for

Site = Callable[..., tuple[Node, Orthanc]]
LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


#: Python's own sleeps to a moment of the monotonic clock, which libfaketime spoils (EINVAL); one by select it leaves alone.
SLEEP = "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds) and None"


class Clock:
    """The clock of whatever runs with this environment."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        (folder / "sitecustomize.py").write_text(SLEEP)
        self.set(timedelta(0))
        self.environment = {
            "PYTHONPATH": str(folder),
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as with a clock that is really set
        }

    def set(self, ahead: timedelta) -> None:
        self._file.write_text(f"{ahead.total_seconds():+.0f}")


def clock_line(running: Node) -> Line:
    return next(line for line in check(load_settings(running.config)) if line.title == "clock")


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
@pytest.mark.soak
def test_a_clock_that_is_set_by_hours_loses_and_delays_nothing(site: Site, study: Path, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    running, pacs = site(environment=clock.environment)
    uids = [renamed(study, tmp_path / name) for name in ("ahead", "back", "waiting")]

    running.send(tmp_path / "ahead")
    wait_for(lambda: running.studies() and running.studies()[0]["state"] == "reading", seconds=60, what="the reading")
    clock.set(timedelta(hours=5))
    all_is_well(running, pacs, uids[0])
    wait_for(lambda: "set ahead by 5:00:00" in clock_line(running).text, what="the check to tell of the clock")
    assert clock_line(running).verdict is Verdict.LOOK

    running.send(tmp_path / "back")
    clock.set(timedelta(hours=1))  # what came a moment ago comes from the future now
    all_is_well(running, pacs, uids[1])

    pacs.kill()
    running.send(tmp_path / "waiting")
    read(running, uids[2])
    wait_for(lambda: [d for d in deliveries(running, uids[2]) if d["code"] == "peer-unreachable"], what="a failed attempt")
    clock.set(timedelta(hours=-3))
    wait_for(lambda: "set back by 4:00:00" in running.log, what="the step to be seen")
    pacs.start()
    all_is_well(running, pacs, uids[2])

    assert [len(running.study(uid)["readings"]) for uid in uids] == [1, 1, 1]
    assert clock_line(running).verdict is not Verdict.GOOD
