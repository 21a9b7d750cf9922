"""Runs the lung and lesion network over the slices of a volume."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pneumoscope.records import Volume
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, NetworkGrid

_T = TypeVar("_T", np.uint8, np.float32)
#: Neighbouring slices closer than this share one run of the network; lesions do not change within it.
MIN_STEP_MM = 1.4
#: Slices per run: larger batches fall out of the processor's cache and are slower.
BATCH = 4


class Found(NamedTuple):
    """``probability``: (n, 2, s, s) of lung and lesion in 255ths. ``evidence``: (n, c, c), see ``segmentation.evidence``."""

    probability: NDArray[np.uint8]
    evidence: NDArray[np.float32]


class LungLesionNetwork:
    """The exported network: pictures in, probabilities of lung and lesion and maps of evidence out."""

    def __init__(self, onnx: bytes, *, threads: int = 2) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # who waits by spinning takes the core from whom it waits for: four readings at once took three times as long
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def __call__(self, pictures: NDArray[np.float32]) -> Found:
        """What is found in (n, s, s) scaled pictures."""
        probability, evidence = self._session.run(["probability", "evidence"], {"image": pictures[:, None]})
        return Found(np.rint(probability * 255).astype(np.uint8), evidence)


def look(
    volume: Volume,
    network: LungLesionNetwork,
    grid: NetworkGrid,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """What is found in each slice of a volume; slices between two runs are interpolated."""
    chosen = _spread(volume.positions_mm)
    found = np.empty((len(chosen), 2, NETWORK_SIZE_PX, NETWORK_SIZE_PX), dtype=np.uint8)
    evidence = []
    with ThreadPoolExecutor(2) as pool:
        pictures = pool.map(lambda k: grid.picture(volume.hu[k]), chosen)
        for start in range(0, len(chosen), BATCH):
            count = min(BATCH, len(chosen) - start)
            found[start : start + count], maps = network(np.stack([next(pictures) for _ in range(count)]))
            evidence.append(maps)
            if progress:
                progress(start + count, len(chosen))
    if len(chosen) == len(volume.positions_mm):
        return Found(found, np.concatenate(evidence))
    known_mm = volume.positions_mm[chosen]
    maps = np.concatenate(evidence)
    return Found(_interpolate(found, known_mm, volume.positions_mm), _interpolate(maps, known_mm, volume.positions_mm))


def _spread(positions_mm: NDArray[np.float64]) -> list[int]:
    """Indices of slices at least ``MIN_STEP_MM`` apart, the last one included."""
    chosen = [0]
    for k in range(1, len(positions_mm)):
        if positions_mm[k] - positions_mm[chosen[-1]] >= MIN_STEP_MM - 1e-3:
            chosen.append(k)
    if chosen[-1] != len(positions_mm) - 1:
        chosen.append(len(positions_mm) - 1)
    return chosen


def _interpolate(found: NDArray[_T], known_mm: NDArray[np.float64], wanted_mm: NDArray[np.float64]) -> NDArray[_T]:
    above = np.clip(np.searchsorted(known_mm, wanted_mm), 1, len(known_mm) - 1)
    weight = (wanted_mm - known_mm[above - 1]) / (known_mm[above] - known_mm[above - 1])
    whole = np.issubdtype(found.dtype, np.integer)
    out = np.empty((len(wanted_mm), *found.shape[1:]), dtype=found.dtype)
    for k, (upper, w) in enumerate(zip(above, weight, strict=True)):
        between = found[upper - 1] * np.float32(1 - w) + found[upper] * np.float32(w)
        out[k] = np.rint(between) if whole else between
    return out
