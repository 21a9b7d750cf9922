"""A folder that is looked at for studies: what has stopped growing is taken in, and moved aside as taken or refused."""

import tempfile
from pathlib import Path

import structlog

from pneumoscope.errors import Rejected
from pneumoscope.filing import Status, file_waiting
from pneumoscope.intake.archive import unpack
from pneumoscope.receiver.house import House
from pneumoscope.store import arrivals

TAKEN, REFUSED = "taken", "refused"
log = structlog.get_logger()


class Watched:
    """Files, zips and subfolders; two looks at the same size mean that nobody writes any more."""

    def __init__(self, house: House) -> None:
        assert house.settings.watched.folder is not None
        self._house = house
        self._folder = house.settings.watched.folder.absolute()
        self._sizes: dict[Path, int] = {}

    def look(self) -> None:
        """Take in what is whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sizes = {path: path.stat().st_size for path in self._files()}
        settled = [path for path, size in sizes.items() if self._sizes.get(path) == size]
        self._sizes = sizes
        # all or nothing: a study whose first files are whole and whose last are on their way waits
        if settled and len(settled) == len(sizes):
            self._take(settled)

    def _files(self) -> list[Path]:
        aside = (self._folder / TAKEN, self._folder / REFUSED)
        return [
            path
            for path in sorted(self._folder.rglob("*"))
            if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(folder) for folder in aside)
        ]

    def _take(self, files: list[Path]) -> None:
        house = self._house
        with house.store.database.begin() as db:
            arrival_id = arrivals.open_arrival(db, process_id=house.process_id, channel="folder", sender="folder")
        house.spool.open(arrival_id)
        refused = {path for path in files if not self._spool(path, arrival_id)}
        outcomes = file_waiting(house.store, house.spool, arrival_id, settings=house.settings)
        with house.store.database.begin() as db:
            arrivals.close_arrival(db, arrival_id)
        house.spool.remove(arrival_id)
        for path in files:
            self._move(path, REFUSED if path in refused else TAKEN)
        unfiled = sum(outcome.status in (Status.UNREADABLE, Status.REFUSED, Status.CHANGED) for outcome in outcomes)
        log.info(
            "A watched folder was emptied", files=len(files), objects=len(outcomes), refused=len(refused), set_aside=unfiled
        )

    def _spool(self, path: Path, arrival_id: str) -> bool:
        """False for an archive that may not be unpacked."""
        with path.open("rb") as file:
            packed = file.read(2) == b"PK"
        if not packed:
            self._house.spool.write(arrival_id, path.read_bytes())
            return True
        with tempfile.TemporaryDirectory(dir=self._house.spool.root.parent) as scratch:
            try:
                unpack(path, to=Path(scratch))
            except Rejected:
                return False
            for member in sorted(Path(scratch).rglob("*")):
                if member.is_file():
                    self._house.spool.write(arrival_id, member.read_bytes())
        return True

    def _move(self, path: Path, where: str) -> None:
        target = self._folder / where / path.relative_to(self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        for parent in path.parents:
            if parent == self._folder or any(parent.iterdir()):
                break
            parent.rmdir()
