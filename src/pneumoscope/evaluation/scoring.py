"""Scores the cases: in processes that may die, going on where an earlier run stopped."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.errors import OperatorNeeded, PneumoscopeError
from pneumoscope.evaluation.fingerprints import fingerprint
from pneumoscope.evaluation.labels import Case
from pneumoscope.models import Bundle
from pneumoscope.parallel import Crashed, fork_map
from pneumoscope.pipeline import load_path, read_volume
from pneumoscope.records import Category, Volume
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.singleslice import is_picture, read_grey, read_picture

STORE_NAME = "outcomes.jsonl"
#: Fewer slices of a study than this are hashed, spread over its middle half.
HASHED_SLICES = 5
LUNG_WINDOW_HU = (-1350.0, 150.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one case.

    ``kind``: "picture" or "study". ``score``: None where the model cannot say or the read failed. ``category``: "" and ``code``
    and ``message`` set where it failed. ``fingerprints``: (n, 32) bytes.
    """

    kind: str
    score: float | None
    category: str
    share: float | None
    code: str
    message: str
    seconds: float
    fingerprints: NDArray[np.uint8]

    def to_json(self) -> dict[str, Any]:
        """For the store."""
        values = {name: getattr(self, name) for name in ("kind", "score", "category", "share", "code", "message", "seconds")}
        return {**values, "fingerprints": [bytes(row).hex() for row in self.fingerprints]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Outcome":
        """From the store."""
        rows = [np.frombuffer(bytes.fromhex(text), dtype=np.uint8) for text in values["fingerprints"]]
        prints = np.stack(rows) if rows else np.empty((0, 32), dtype=np.uint8)
        return cls(**{**values, "fingerprints": prints})


def score_cases(
    cases: Sequence[Case],
    bundle: Bundle,
    store: Path,
    *,
    processes: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Outcome]:
    """Score every case that ``store``, a file of lines, does not hold yet for this model; outcomes in the order of the cases.

    A case whose file has changed is scored again. Raises OperatorNeeded where the store cannot be written.
    """
    keys = [_key(case, bundle) for case in cases]
    known = _stored(store)
    todo = [k for k, key in enumerate(keys) if key not in known]
    progress(len(cases) - len(todo), len(cases))
    try:
        with store.open("a", encoding="utf-8") as stream:
            if todo:
                work = fork_map(
                    partial(_score, bundle=bundle), [cases[k].path for k in todo], processes=processes, with_children=True
                )
                for done, (index, result) in enumerate(work, start=len(cases) - len(todo) + 1):
                    outcome = result if isinstance(result, Outcome) else _crashed(result)
                    key = keys[todo[index]]
                    known[key] = outcome
                    stream.write(json.dumps({"key": key, **outcome.to_json()}) + "\n")
                    stream.flush()
                    progress(done, len(cases))
    except OSError as fault:
        raise OperatorNeeded("The outcomes cannot be written; is the disk full?", code="output-failed") from fault
    return [known[key] for key in keys]


def _key(case: Case, bundle: Bundle) -> str:
    """Names the case as it lies there now, and the model with its calibration; tells no one the path."""
    try:
        state = case.path.stat()
        stamp = f"{state.st_size} {state.st_mtime_ns}"
    except OSError:
        stamp = "absent"
    text = f"{case.path.resolve()} {stamp} {bundle.model.sha256} {bundle.lesion_threshold} {bundle.calibration}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _stored(store: Path) -> dict[str, Outcome]:
    """Outcomes by key; a line cut short by a crash is left out, and so done again."""
    known = {}
    if store.exists():
        for line in store.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
                key = values.pop("key")
                known[key] = Outcome.from_json(values)
            except (ValueError, KeyError, TypeError):
                continue
    return known


def _crashed(_: Crashed) -> Outcome:
    return _failed("crashed", "The process that read it died.", kind="study", seconds=0.0)


def _failed(code: str, message: str, *, kind: str, seconds: float) -> Outcome:
    none = np.empty((0, 32), dtype=np.uint8)
    return Outcome(
        kind=kind, score=None, category="", share=None, code=code, message=message, seconds=seconds, fingerprints=none
    )


_networks: dict[str, LungLesionNetwork] = {}  # one for each child process, made after the fork


def _score(path: Path, *, bundle: Bundle) -> Outcome:
    """In a child process."""
    began_s = time.monotonic()
    kind = "picture" if is_picture(path) else "study"
    try:
        scored = _score_picture(path, bundle) if kind == "picture" else _score_study(path, bundle)
    except PneumoscopeError as fault:
        return _failed(fault.code, str(fault), kind=kind, seconds=round(time.monotonic() - began_s, 3))
    except Exception as fault:  # noqa: BLE001  one odd case must not end an evaluation of thousands; it is counted
        words = f"An error that should not happen: {type(fault).__name__}."
        return _failed("unexpected", words, kind=kind, seconds=round(time.monotonic() - began_s, 3))
    score, category, share, prints = scored
    return Outcome(
        kind=kind,
        score=score,
        category=category.value,
        share=share,
        code="",
        message="",
        seconds=round(time.monotonic() - began_s, 3),
        fingerprints=prints,
    )


Scored = tuple[float | None, Category, float, NDArray[np.uint8]]


def _score_picture(path: Path, bundle: Bundle) -> Scored:
    if bundle.model.sha256 not in _networks:
        _networks[bundle.model.sha256] = LungLesionNetwork(bundle.onnx, threads=1)
    found = read_picture(path, bundle, _networks[bundle.model.sha256])
    return found.probability, found.category, found.lesion_share, fingerprint(read_grey(path))[None]


def _score_study(path: Path, bundle: Bundle) -> Scored:
    volume, verdicts = load_path(path)
    reading = read_volume(volume, bundle, verdicts=verdicts)
    scores = reading.scores
    return scores.probability, scores.category, reading.findings[0].share, study_fingerprints(volume)


def study_fingerprints(volume: Volume) -> NDArray[np.uint8]:
    """(5, 32) fingerprints of slices spread over the middle half of the volume, in a lung window."""
    low, high = LUNG_WINDOW_HU
    chosen = np.unique(np.linspace(0.25, 0.75, HASHED_SLICES) * (len(volume.hu) - 1)).astype(int)
    grey = [np.clip((volume.hu[k] - low) / (high - low) * 255, 0, 255).astype(np.uint8) for k in chosen]
    return np.stack([fingerprint(picture) for picture in grey])


def default_processes() -> int:
    """One for each core that this process may use."""
    return len(os.sched_getaffinity(0))
