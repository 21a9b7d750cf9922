"""When a study is complete: sooner than a timer, from what is known of its sender and its images."""

import time

from pneumoscope.config import Arrival
from pneumoscope.intake.headers import read_header
from pneumoscope.records import Instance
from pneumoscope.series.rules import first_broken, missing_count
from pneumoscope.series.stacks import build_stacks
from pneumoscope.store import Store, now, studies
from pneumoscope.store.studies import Arriving

#: Between two images a sender may take so many times as long as it ever took before.
PATIENCE = 4.0
#: These know how many images there will be; a PACS only how many it has got so far.
FINAL = ("mpps", "ian")
#: More than this is not believed of the wall clock, which may have been set: the rest is waited for by our own.
BELIEVED_S = 1.0


def due_in_s(study: Arriving, *, whole: bool, since_s: float, settings: Arrival) -> float:
    """Seconds until the study is taken, 0 where it is complete now; infinite while a sender is at it.

    ``whole``: its images make at least one series that can be read, and no series of slices lacks any. ``since_s``: seconds
    since its last image.
    """
    if study.open_arrivals:
        return float("inf")
    if study.expected_images is not None:
        if study.images < study.expected_images:
            return max(0.0, settings.expectation_wait_s - since_s)
        if study.expectation_source in FINAL:
            return 0.0
    quiet_s = settings.quiet_s
    if whole:
        quiet_s = min(quiet_s, max(settings.settle_s, PATIENCE * study.longest_pause_s))
    return max(0.0, quiet_s - since_s)


def is_whole(instances: list[Instance]) -> bool:
    """Whether these images make at least one stack that may be read, no stack lacks slices, and no number is left out."""
    stacks = build_stacks(instances)
    readable = [stack for stack in stacks if first_broken(stack)[1] is None]
    if not readable or any(missing_count(stack) for stack in stacks if len(stack.positions_mm) > 1):
        return False
    return all(_counts_through(instances, stack.first.SeriesInstanceUID) for stack in readable)


def _counts_through(instances: list[Instance], SeriesInstanceUID: str) -> bool:
    """Whether a series' numbers run from its start without a gap, as far as it has numbers at all.

    Half of a series looks whole by its positions where every other slice came, or where it came head first and is numbered
    feet first.
    """
    found = [one.InstanceNumber for one in instances if one.SeriesInstanceUID == SeriesInstanceUID]
    numbers = {number for number in found if number is not None}
    if len(numbers) < len(found):  # some without, or some twice: they tell nothing
        return True
    return min(numbers) <= 1 and max(numbers) - min(numbers) + 1 == len(numbers)


class Judge:
    """Remembers headers of studies that arrive, so that looking again costs nothing while nothing new came."""

    def __init__(self, store: Store, settings: Arrival) -> None:
        self._store, self._settings = store, settings
        self._headers: dict[str, dict[str, tuple[Instance, ...]]] = {}
        self._whole: dict[str, tuple[int, bool]] = {}
        self._last_image_s: dict[str, tuple[int, float]] = {}  # by the monotonic clock

    def is_due(self, study: Arriving) -> bool:
        """Whether the study is complete, as far as can be known."""
        since_s = self._since_s(study)
        if study.open_arrivals:
            self._look_at(study)  # while the rest is on its way, so that nothing is left to read at the end
            return False
        # what would be due even where it is not whole needs no look at its images, nor does what is not due though whole
        if due_in_s(study, whole=False, since_s=since_s, settings=self._settings) == 0:
            return True
        if due_in_s(study, whole=True, since_s=since_s, settings=self._settings) > 0:
            return False
        return self._is_whole(study)

    def forget(self, keep: set[str]) -> None:
        """Forget studies that do not arrive any more."""
        for known in (self._headers, self._whole, self._last_image_s):
            for uid in set(known) - keep:
                del known[uid]

    def _since_s(self, study: Arriving) -> float:
        uid = study.StudyInstanceUID
        if self._last_image_s.get(uid, (0, 0.0))[0] != study.revision:
            told_s = (now() - study.last_image_at).total_seconds()
            self._last_image_s[uid] = (study.revision, time.monotonic() - min(max(told_s, 0.0), BELIEVED_S))
        return time.monotonic() - self._last_image_s[uid][1]

    def _is_whole(self, study: Arriving) -> bool:
        uid = study.StudyInstanceUID
        if self._whole.get(uid, (0, False))[0] != study.revision:
            instances = [one for found in self._look_at(study).values() for one in found]
            self._whole[uid] = (study.revision, is_whole(instances))
        return self._whole[uid][1]

    def _look_at(self, study: Arriving) -> dict[str, tuple[Instance, ...]]:
        headers = self._headers.setdefault(study.StudyInstanceUID, {})
        if len(headers) < study.images:
            with self._store.database.look() as db:
                keys = studies.source_keys(db, study.StudyInstanceUID)
            new = [key for key in keys if key not in headers]
            for key, path in zip(new, self._store.files.paths(new), strict=True):
                headers[key] = read_header(path).instances
        return headers
