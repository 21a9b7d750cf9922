"""Files what waits in the spool: into the store first, then into the database, then out of the spool.

A crash between any two of these loses nothing and doubles nothing: what is filed again is recognised.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog
from pydicom.uid import UID

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.filing.examine import Rule
from pneumoscope.filing.opener import opener
from pneumoscope.filing.spool import Spool
from pneumoscope.intake.headers import Header
from pneumoscope.loops import is_of_the_machine
from pneumoscope.records import Instance, Priority
from pneumoscope.series.rules import CT_CLASSES
from pneumoscope.store import Store, arrivals, studies
from pneumoscope.store.arrivals import Filed, Known
from pneumoscope.store.files import aside_key, image_key

BATCH = 64
_MB = 1_000_000
#: Manufacturer of results, here and elsewhere: that in ``records.Model``.
OURS = "Pneumoscope"
log = structlog.get_logger()


class Status(StrEnum):
    """What became of one object."""

    FILED = "filed"
    DUPLICATE = "duplicate"  # the same was there already
    CHANGED = "changed"  # another object is known under its UID; set aside
    UNREADABLE = "unreadable"  # set aside
    REFUSED = "refused"  # beyond a limit; set aside
    OWN = "own"  # a result of ours that came back


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one object; ``code`` and ``message`` where it was set aside."""

    path: Path
    status: Status
    code: str = ""
    message: str = ""
    SOPClassUID: str = ""
    SOPInstanceUID: str = ""
    StudyInstanceUID: str = ""
    SeriesInstanceUID: str = ""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    path: Path
    sha256: str
    size_bytes: int
    header: Header
    priority: Priority

    @property
    def first(self) -> Instance:
        return self.header.instances[0]


def file_waiting(
    store: Store, spool: Spool, arrival_id: str, *, settings: Settings, priority: Priority = Priority.ROUTINE
) -> list[Outcome]:
    """File every whole file of an arrival. ``priority``: of its sender, which rules of the settings may raise.

    Raises OperatorNeeded where the store cannot be written; what was not filed stays in the spool.
    """
    outcomes: list[Outcome] = []
    waiting = spool.waiting(arrival_id)
    for start in range(0, len(waiting), BATCH):
        candidates = _examined(waiting[start : start + BATCH], settings, priority)
        try:
            outcomes += _Batch(store, arrival_id, settings).file(candidates)
        except Exception as fault:
            if is_of_the_machine(fault):
                raise
            for candidate in candidates:
                outcomes += _file_alone(store, arrival_id, settings, candidate)
    return outcomes


def _file_alone(store: Store, arrival_id: str, settings: Settings, candidate: _Candidate) -> list[Outcome]:
    """What cannot be filed by a fault of ours is set aside, and keeps nothing else from being filed."""
    if not candidate.path.exists():  # filed before the fault was met
        return []
    try:
        return _Batch(store, arrival_id, settings).file([candidate])
    except Exception as fault:
        if is_of_the_machine(fault):
            raise
        log.error("An object cannot be filed by a fault of ours", arrival_id=arrival_id, exc_info=True)
    return _Batch(store, arrival_id, settings).file([replace(candidate, header=candidate.header._replace(fault="bug"))])


def _examined(paths: Sequence[Path], settings: Settings, priority: Priority) -> list[_Candidate]:
    rules = [Rule(rule.keyword, rule.pattern, Priority[rule.priority.upper()]) for rule in settings.arrival.priorities]
    return [
        _Candidate(
            path=path,
            sha256=found.sha256,
            size_bytes=found.size_bytes,
            header=found.header,
            priority=min(priority, found.priority),
        )
        for path, found in zip(paths, opener.examine(paths, rules), strict=True)
    ]


#: Reasons for which an object is set aside, as people read them.
REASONS = {
    "bad-uid": "It bears a study, series or instance UID that is none; digits and dots, at most 64, are allowed.",
    "uid-mismatch": "Its instance UID is not the one that it was sent under.",
    "changed-object": "Another object with the same instance UID is here already; the first one counts.",
    "study-too-large": "Its study is larger than the settings allow.",
    "damaged-header": "Its header is damaged and cannot be read.",
    "not-dicom": "It is no DICOM object.",
    "not-an-image": "It has no SOP class that can be filed.",
    "dicomdir": "It is a DICOMDIR, which is a list and no object of a study.",
    "no-permission": "It cannot be opened.",
    "bug": "It could not be filed by a fault of ours; it may be sent again.",
}


class _Batch:
    def __init__(self, store: Store, arrival_id: str, settings: Settings) -> None:
        self._store, self._arrival_id = store, arrival_id
        self._most_bytes, self._durable = settings.dicom.max_study_mb * _MB, settings.disk.durable
        self._outcomes: list[Outcome] = []
        self._filed: dict[str, tuple[_Candidate, Filed]] = {}
        self._sizes: dict[str, int] = {}
        self._brought: list[str] = []

    def file(self, candidates: list[_Candidate]) -> list[Outcome]:
        good = [candidate for candidate in candidates if not candidate.header.fault]
        for candidate in candidates:
            if candidate.header.fault:
                self._set_aside(candidate, Status.UNREADABLE, candidate.header.fault)
        with self._store.database.look() as db:
            here = arrivals.known(db, [candidate.first.SOPInstanceUID for candidate in good])
            for uid in {candidate.first.StudyInstanceUID for candidate in good}:
                row = studies.get(db, uid)
                self._sizes[uid] = row["size_bytes"] if row else 0
        self._sort(good, here)
        self._make_durable()
        self._commit()
        for outcome in self._outcomes:
            outcome.path.unlink(missing_ok=True)
        return self._outcomes

    def _sort(self, candidates: Sequence[_Candidate], here: dict[str, Known]) -> None:
        """Decide what each is, and have those in the store that belong there."""
        bringing: dict[str, Path] = {}
        same = {here[uid].key for c in candidates if (uid := c.first.SOPInstanceUID) in here and here[uid].sha256 == c.sha256}
        lost = same - self._store.files.present(same)
        for candidate in candidates:
            uid = candidate.first.SOPInstanceUID
            there = here.get(uid)
            twin = self._filed.get(uid)
            if there and there.own:
                self._note(candidate, Status.OWN)
            elif (there and there.sha256 == candidate.sha256) or (twin and twin[0].sha256 == candidate.sha256):
                if there and there.key in lost:  # its file comes back by being sent again
                    bringing[there.key] = candidate.path
                self._note(candidate, Status.DUPLICATE)
            elif there or twin:
                self._set_aside(candidate, Status.CHANGED, "changed-object")
            elif self._too_large(candidate):
                self._set_aside(candidate, Status.REFUSED, "study-too-large")
            else:
                filed = _filed(candidate, self._arrival_id)
                bringing[filed.key] = candidate.path
                self._filed[uid] = (candidate, filed)
        self._bring(bringing)

    def _too_large(self, candidate: _Candidate) -> bool:
        uid = candidate.first.StudyInstanceUID
        self._sizes[uid] += candidate.size_bytes
        return self._sizes[uid] > self._most_bytes

    def _make_durable(self) -> None:
        """On the disk before the database lists them, and before the spool forgets them: a power cut loses nothing filed."""
        try:
            self._store.files.sync(self._brought if self._durable else ())
        except OSError as fault:
            reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
            raise OperatorNeeded(f"Files could not be made durable: {reason}.", code="store-unwritable") from fault
        self._brought = []

    def _bring(self, sources: Mapping[str, Path]) -> None:
        self._store.files.bring(sources)
        self._brought += sources

    def _commit(self) -> None:
        items = [filed for _, filed in self._filed.values()]
        new = self._store.database.insist(lambda db: arrivals.file_images(db, items))
        lost = [(candidate, filed) for candidate, filed in self._filed.values() if filed.SOPInstanceUID not in new]
        for candidate, filed in self._filed.values():
            if filed.SOPInstanceUID in new:
                self._note(candidate, Status.FILED)
        if lost:  # another process filed objects of the same UIDs in this very moment
            with self._store.database.look() as db:
                here = arrivals.known(db, [filed.SOPInstanceUID for _, filed in lost])
            self._filed = {}
            self._sort([candidate for candidate, _ in lost], here)
            self._make_durable()

    def _note(self, candidate: _Candidate, status: Status, code: str = "") -> None:
        one = candidate.first if candidate.header.instances else None
        self._outcomes.append(
            Outcome(
                path=candidate.path,
                status=status,
                code=code,
                message=REASONS.get(code, code),
                SOPClassUID=one.SOPClassUID if one else "",
                SOPInstanceUID=one.SOPInstanceUID if one else "",
                StudyInstanceUID=one.StudyInstanceUID if one else "",
                SeriesInstanceUID=one.SeriesInstanceUID if one else "",
            )
        )

    def _set_aside(self, candidate: _Candidate, status: Status, code: str) -> None:
        aside_id = str(uuid.uuid4())
        one = candidate.first if candidate.header.instances else None
        self._bring({aside_key(aside_id): candidate.path})
        self._make_durable()
        kept = self._store.database.insist(
            lambda db: arrivals.put_aside(
                db,
                aside_id=aside_id,
                key=aside_key(aside_id),
                sha256=candidate.sha256,
                size_bytes=candidate.size_bytes,
                code=code,
                message=REASONS.get(code, code),
                StudyInstanceUID=one.StudyInstanceUID if one else "",
                SOPInstanceUID=one.SOPInstanceUID if one else "",
                arrival_id=self._arrival_id,
            )
        )
        if not kept:
            self._store.files.delete(aside_key(aside_id))
        log.warning("An object was set aside", code=code, arrival_id=self._arrival_id)
        self._note(candidate, status, code)


def _filed(candidate: _Candidate, arrival_id: str) -> Filed:
    one = candidate.first
    readable = UID(one.SOPClassUID) in CT_CLASSES
    assert candidate.header.study is not None
    return Filed(
        study=candidate.header.study,
        SeriesInstanceUID=one.SeriesInstanceUID,
        SOPInstanceUID=one.SOPInstanceUID,
        SOPClassUID=one.SOPClassUID,
        TransferSyntaxUID=one.TransferSyntaxUID,
        Modality=one.Modality,
        SeriesDescription=one.SeriesDescription,
        BodyPartExamined=one.BodyPartExamined,
        Manufacturer=one.Manufacturer,
        SeriesNumber=one.SeriesNumber,
        InstanceNumber=one.InstanceNumber,
        Rows=one.Rows or None,
        Columns=one.Columns or None,
        NumberOfFrames=len(candidate.header.instances) if one.frame_index is not None else None,
        key=image_key(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, candidate.sha256),
        sha256=candidate.sha256,
        size_bytes=candidate.size_bytes,
        received_at=datetime.fromtimestamp(candidate.path.stat().st_mtime, tz=UTC),
        arrival_id=arrival_id,
        readable=readable,
        result=one.Manufacturer == OURS and not readable,  # a phantom of ours is read as any CT
        priority=candidate.priority,
    )
