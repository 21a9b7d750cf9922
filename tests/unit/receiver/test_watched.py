"""A folder into which files are dropped without end, and arrivals that provoke a fault of ours."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

import databases
from dicom_maker import make_slice, save
from pneumoscope.config import Settings
from pneumoscope.filing.opener import opener
from pneumoscope.filing.spool import Spool
from pneumoscope.receiver.clerk import Clerk
from pneumoscope.receiver.house import House
from pneumoscope.receiver.room import Room
from pneumoscope.receiver.watched import Watched
from pneumoscope.store import arrivals, processes, studies
from pneumoscope.store.schema import arrival, image

#: Long enough that no pause of the machine that tests count as quiet.
EVERY_S, QUIET_S = 200, 2000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = databases.store(tmp_path)
    settings = Settings(node={"folder": tmp_path}, watched={"folder": tmp_path / "inbox"}, arrival={"quiet_s": QUIET_S})
    with store.database.begin() as db:
        process_id = processes.enter(db, "receiver")
    yield House(settings, store, Spool(tmp_path / "spool"), Room(store.files, 0.0), process_id)
    store.database.close()
    opener.close()


def test_a_folder_that_never_comes_to_rest_is_taken_from(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr("pneumoscope.receiver.watched.time", SimpleNamespace(monotonic=lambda: moment.now_s))
    watched, inbox = Watched(house), tmp_path / "inbox"

    def look() -> list[str]:
        moment.now_s += EVERY_S
        watched.look()
        with house.store.database.look() as db:
            return sorted(db.execute(sa.select(image.c.SOPInstanceUID)).scalars())

    dropped = []
    for k in range(16):  # one file between every two looks, two studies one after the other
        one = make_slice(k, study="1" if k < 8 else "2")
        dropped.append(one.SOPInstanceUID)
        save(one, inbox / f"{k}.dcm")
        taken = look()
    assert taken == sorted(dropped[: 16 - QUIET_S // EVERY_S])
    with house.store.database.look() as db:
        (arriving,) = studies.arriving(db)
        assert arriving.open_arrivals > 0, "more of the study may come"
    assert look() == sorted(dropped), "at rest it is taken whole"
    assert sorted(path.name for path in (inbox / "taken").iterdir()) == sorted(f"{k}.dcm" for k in range(16))
    assert not house.spool.waiting(house.over.get_nowait())


def test_an_arrival_that_meets_a_fault_of_ours_rests_and_holds_up_no_other(house: House, tmp_path: Path) -> None:
    class Faulty(Spool):
        asked = 0

        def waiting(self, arrival_id: str) -> list[Path]:
            if arrival_id == bad:
                self.asked += 1
                raise ValueError
            return super().waiting(arrival_id)

    faulty = Faulty(house.spool.root)
    house = House(house.settings, house.store, faulty, house.room, house.process_id)
    with house.store.database.begin() as db:
        bad, *good = sorted(arrivals.open_arrival(db, process_id=house.process_id, channel="dicom") for _ in range(3))
    for k, arrival_id in enumerate((bad, *good)):
        faulty.open(arrival_id)
        faulty.write(arrival_id, save(make_slice(k), tmp_path / "made.dcm").read_bytes())
        house.over.put(arrival_id)
    clerk = Clerk(house)
    for _ in range(3):
        with pytest.raises(ValueError):
            clerk.file()
    assert faulty.asked == 1
    with house.store.database.look() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(image)).scalar() == 2
        closed = db.execute(sa.select(arrival.c.id).where(arrival.c.closed_at.is_not(None))).scalars()
        assert sorted(closed) == good
    assert faulty.arrivals() == [bad], "it is kept"
