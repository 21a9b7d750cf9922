"""A process that reads studies, each in a forked child: what crashes or leaks there costs one study and nothing else.

It speaks JSON lines: a job comes in, with the model to read with, and a result goes out. It is small and without threads, so
that forking it is safe and quick, and has everything imported that a reading needs.
"""

import importlib
import json
import os
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pneumoscope.errors import OperatorNeeded, PneumoscopeError, Rejected
from pneumoscope.models import Bundle
from pneumoscope.output import write_all
from pneumoscope.parallel import Crashed, fork_map
from pneumoscope.pipeline import read_files
from pneumoscope.records import Parcel, Predecessor, Reading, Region
from pneumoscope.results.build import DICOM_MEDIA_TYPE, build_parcels
from pneumoscope.results.words import headline
from pneumoscope.telemetry import die_with_parent
from pneumoscope.worker.bundles import Bundles, with_limits
from pneumoscope.worker.facts import facts
from pneumoscope.worker.features import features

#: What a reading imports on its way; here it is imported once for all.
ONCE = (
    "onnxruntime",
    "SimpleITK",
    "pneumoscope.results.capture",
    "pneumoscope.results.encode",
    "pneumoscope.results.seg",
    "pneumoscope.results.sr",
)
#: A reading uses every core for seconds: receivers, pages and the queue, which need little, come before it.
NICENESS = 5
Json = dict[str, Any]


class Stages:
    """When each stage of a reading began and ended, in seconds since 1970; a stage begins where the one before it ended."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float, float]] = []
        self._last_s = time.time()

    def step(self, stage: str, _done: int, _total: int) -> None:
        """Take a step of a stage, which may be its last."""
        before_s, self._last_s = self._last_s, time.time()
        began_s = self.seconds.pop()[1] if self.seconds and self.seconds[-1][0] == stage else before_s
        self.seconds.append((stage, began_s, self._last_s))


def main() -> None:
    """Serve jobs until standard input ends."""
    die_with_parent()
    os.nice(NICENESS)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for module in ONCE:
        importlib.import_module(module)
    bundles = Bundles(sys.argv[1] if len(sys.argv) > 1 else "")
    _say(answers, {"ready": True, "model": bundles.default_title})
    for line in sys.stdin:
        _say(answers, _done(json.loads(line), bundles))


def _done(job: Json, bundles: Bundles) -> Json:
    """Read with the model that the job names; one that does not verify never runs."""
    try:
        bundle = bundles.get(job.get("model", ""))
    except OperatorNeeded as fault:
        return {"outcome": "operator", "code": fault.code, "message": str(fault)}
    if limits := job.get("limits"):
        bundle = with_limits(bundle, no_sign_below=limits[0], sign_from=limits[1])
    results = [result for _, result in fork_map(lambda given: _read(given, bundle), [job], processes=1, with_children=True)]
    result = results[0]
    return {"outcome": "crashed"} if isinstance(result, Crashed) else result


def _say(answers: Any, document: Json) -> None:  # noqa: ANN401 - a text file
    answers.write(json.dumps(document) + "\n")
    answers.flush()


def _read(job: Json, bundle: Bundle) -> Json:
    """``job``: ``files``, ``made_at``, what it ``replaces``, and the folder ``out`` that the results go to, all or none.

    Without ``out`` nothing is written: what was found is told alone.
    """
    die_with_parent()
    began_s, stages = time.monotonic(), Stages()
    os.environ["OMP_NUM_THREADS"] = str(os.cpu_count() or 1)
    try:
        files, made_at = [Path(name) for name in job["files"]], datetime.fromisoformat(job["made_at"])
        reading = read_files(files, bundle, made_at=made_at, replaces=_replaces(job), progress=stages.step)
        told: list[Json] = []
        if job.get("out"):
            parcels = build_parcels(reading, for_pages=True, progress=partial(stages.step, "build"))
            write_all(parcels, Path(job["out"]))
            told = [_told(parcel, Path(job["out"])) for parcel in parcels]
            stages.step("write", 1, 1)
        known = features(reading)
    except Rejected as fault:
        return {"outcome": "refused", "code": fault.code, "message": str(fault)}
    except OperatorNeeded as fault:
        return {"outcome": "operator", "code": fault.code, "message": str(fault)}
    except PneumoscopeError as fault:
        return {"outcome": "failed", "code": fault.code, "message": str(fault)}
    except MemoryError:
        return {"outcome": "crashed"}
    except Exception as fault:  # noqa: BLE001  a process boundary: a bug is told by its kind, its text may quote a patient
        return {
            "outcome": "failed",
            "code": "bug",
            "message": f"The reading failed by a fault of ours ({type(fault).__name__}).",
        }
    return {
        "outcome": "read",
        "summary": _summary(reading),
        "parcels": told,
        "features": known,
        "stages": stages.seconds,
        "reading_s": round(time.monotonic() - began_s, 3),
    }


def _told(parcel: Parcel, folder: Path) -> Json:
    is_object = parcel.media_type == DICOM_MEDIA_TYPE
    return {
        "name": parcel.name,
        "media_type": parcel.media_type,
        "facts": facts(folder / parcel.name) if is_object else {},
    }


def _replaces(job: Json) -> Predecessor | None:
    told = job.get("replaces")
    return Predecessor(**{**told, "made_at": datetime.fromisoformat(told["made_at"])}) if told else None


def _summary(reading: Reading) -> Json:
    return {
        "probability": reading.scores.probability,
        "category": str(reading.scores.category),
        "headline": headline(reading),
        "involved_share": reading.finding(Region.LUNGS).share,
        "model": f"{reading.model.name} {reading.model.version}",
        "device_uid": reading.model.device_uid,
        "right_share": reading.finding(Region.RIGHT_LUNG).share,
        "left_share": reading.finding(Region.LEFT_LUNG).share,
        "severity_points": reading.severity_points,
    }


if __name__ == "__main__":
    main()
