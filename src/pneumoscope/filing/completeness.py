"""When a study is complete: sooner than a timer, from what is known of its sender and its images."""

from datetime import datetime

from pneumoscope.config import Arrival
from pneumoscope.intake.headers import read_header
from pneumoscope.records import Instance
from pneumoscope.series.rules import first_broken, missing_count
from pneumoscope.series.stacks import build_stacks
from pneumoscope.store import Store, now, studies
from pneumoscope.store.studies import Arriving

#: Between two images a sender may take so many times as long as it ever took before.
PATIENCE = 4.0


def due_in_s(study: Arriving, *, whole: bool, moment: datetime, settings: Arrival) -> float:
    """Seconds until the study is taken, 0 where it is complete now; infinite while a sender is at it.

    ``whole``: its images make at least one series that can be read, and no series of slices lacks any.
    """
    if study.open_arrivals:
        return float("inf")
    since_s = (moment - study.last_image_at).total_seconds()
    if study.expected_images is not None:
        if study.images >= study.expected_images:
            return 0.0
        return max(0.0, settings.expectation_wait_s - since_s)
    quiet_s = settings.quiet_s
    if whole:
        quiet_s = min(quiet_s, max(settings.settle_s, PATIENCE * study.longest_pause_s))
    return max(0.0, quiet_s - since_s)


def is_whole(instances: list[Instance]) -> bool:
    """Whether these images make at least one stack that may be read, and no stack that could be read lacks slices."""
    stacks = build_stacks(instances)
    readable = [stack for stack in stacks if first_broken(stack)[1] is None]
    return bool(readable) and not any(missing_count(stack) for stack in stacks if len(stack.positions_mm) > 1)


class Judge:
    """Remembers headers of studies that arrive, so that looking again costs nothing while nothing new came."""

    def __init__(self, store: Store, settings: Arrival) -> None:
        self._store, self._settings = store, settings
        self._headers: dict[str, dict[str, tuple[Instance, ...]]] = {}
        self._whole: dict[str, tuple[int, bool]] = {}

    def is_due(self, study: Arriving) -> bool:
        """Whether the study is complete, as far as can be known."""
        moment = now()
        if study.open_arrivals:
            return False
        # what would be due even where it is not whole needs no look at its images, nor does what is not due though whole
        if due_in_s(study, whole=False, moment=moment, settings=self._settings) == 0:
            return True
        if due_in_s(study, whole=True, moment=moment, settings=self._settings) > 0:
            return False
        return self._is_whole(study)

    def forget(self, keep: set[str]) -> None:
        """Forget studies that do not arrive any more."""
        for known in (self._headers, self._whole):
            for uid in set(known) - keep:
                del known[uid]

    def _is_whole(self, study: Arriving) -> bool:
        uid = study.StudyInstanceUID
        if self._whole.get(uid, (0, False))[0] != study.revision:
            with self._store.database.look() as db:
                keys = studies.source_keys(db, uid)
            headers = self._headers.setdefault(uid, {})
            for key in keys:
                if key not in headers:
                    headers[key] = read_header(self._store.files.path(key)).instances
            instances = [one for found in headers.values() for one in found]
            self._whole[uid] = (study.revision, is_whole(instances))
        return self._whole[uid][1]
