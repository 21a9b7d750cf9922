"""Headers of objects as DICOM JSON, and where their frames lie; kept in memory so that each object is parsed once."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from pneumoscope.children import Children
from pneumoscope.errors import PneumoscopeError
from pneumoscope.server.child.describe import Described, describe, described_by
from pneumoscope.store import FileStore

CAPACITY_BYTES = 64 * 2**20
_SPAN_BYTES = 130  # a tuple of two numbers
#: Files a child opens in one call: enough to make the way there cheap, few enough that both children have work.
BATCH = 25


class Headers:
    """Least recently used go first; an object is known by its UID and its content, so that none is ever out of date."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Described] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._parsing = threading.Lock()

    def of(self, rows: Sequence[sa.RowMapping], *, files: FileStore, children: Children) -> list[Described]:
        """What is in each row of ``image``; its JSON has ``child.describe.ROOT`` where the DICOMweb root belongs."""
        found = self._known(rows)
        if len(found) < len(rows):
            with self._parsing:  # who asks for what is being parsed waits for that
                found |= self._known([row for row in rows if _identity(row) not in found])
                found |= self._parsed([row for row in rows if _identity(row) not in found], files=files, children=children)
        return [found[_identity(row)] for row in rows]

    def _known(self, rows: Sequence[sa.RowMapping]) -> dict[tuple[str, str], Described]:
        return {_identity(row): kept for row in rows if (kept := self._get(_identity(row))) is not None}

    def _parsed(
        self, missing: Sequence[sa.RowMapping], *, files: FileStore, children: Children
    ) -> dict[tuple[str, str], Described]:
        batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]

        def parse(batch: Sequence[sa.RowMapping]) -> list[Described | None]:
            paths = files.paths([row["key"] for row in batch])
            wanted = [(str(path), object_path(row)) for path, row in zip(paths, batch, strict=True)]
            try:
                return children.call(describe, wanted)
            except PneumoscopeError:  # one of them: each on its own, so that it costs the others nothing
                return [_alone(children, one) for one in wanted]

        found = {}
        with ThreadPoolExecutor(max_workers=2) as pool:
            for batch, answers in zip(batches, pool.map(parse, batches), strict=True):
                for row, answer in zip(batch, answers, strict=True):
                    found[_identity(row)] = answer or Described(json=described_by(dict(row)), frames=())
                    if answer is not None:
                        self._keep(_identity(row), answer)
        return found

    def _get(self, identity: tuple[str, str]) -> Described | None:
        with self._lock:
            kept = self._kept.get(identity)
            if kept is not None:
                self._kept.move_to_end(identity)
            return kept

    def _keep(self, identity: tuple[str, str], described: Described) -> None:
        with self._lock:
            self._bytes += _size(described) - (_size(self._kept.pop(identity)) if identity in self._kept else 0)
            self._kept[identity] = described
            while self._bytes > CAPACITY_BYTES:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


def object_path(row: sa.RowMapping) -> str:
    """Where an object is below the DICOMweb root."""
    return f"/studies/{row['StudyInstanceUID']}/series/{row['SeriesInstanceUID']}/instances/{row['SOPInstanceUID']}"


def _identity(row: sa.RowMapping) -> tuple[str, str]:
    return row["SOPInstanceUID"], row["sha256"]


def _size(described: Described) -> int:
    return len(described.json) + _SPAN_BYTES * len(described.frames)


def _alone(children: Children, wanted: tuple[str, str]) -> Described | None:
    try:
        return children.call(describe, [wanted])[0]
    except PneumoscopeError:
        return None
