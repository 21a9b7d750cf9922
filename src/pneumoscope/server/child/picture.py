"""A frame as a picture for eyes: rescale, window (PS3.3 C.11.2), size, JPEG or PNG."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pneumoscope.children.frames import frame_count, open_whole, values
from pneumoscope.errors import Rejected

LUNG_WINDOW = (-600.0, 1500.0)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a picture is wanted. ``window``: centre, width, function; ``viewport``: columns, rows it must fit into."""

    form: str = "jpeg"  # or png
    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int] | None = None
    quality: int = 90


def picture(path: Path, number: int, look: Look) -> bytes:
    """One frame, from 1, encoded. Raises Rejected."""
    dataset = open_whole(path)
    if not 1 <= number <= frame_count(dataset):
        raise Rejected(f"There are {frame_count(dataset)} frames; another was asked for.", code="no-such-frame")
    image = Image.fromarray(_shades(dataset, values(dataset, number - 1), look))
    if look.viewport:
        scale = min(look.viewport[0] / image.width, look.viewport[1] / image.height)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
    buffer = BytesIO()
    image.save(buffer, look.form, **({"quality": look.quality} if look.form == "jpeg" else {}))
    return buffer.getvalue()


def _shades(dataset: Dataset, raw: NDArray[Any], look: Look) -> NDArray[np.uint8]:
    """8-bit grey or RGB."""
    kind = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if raw.ndim == 3 and raw.shape[2] == 3 and raw.dtype.itemsize == 1 and not kind.startswith("YBR_FULL_4"):
        return np.ascontiguousarray(raw, dtype=np.uint8)
    if raw.ndim != 2 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise Rejected("A picture of this kind of pixel data cannot be made.", code="not-shown")
    if dataset.BitsAllocated == 1:
        return np.asarray(raw * np.uint8(255), dtype=np.uint8)
    modality = raw * _first(dataset, "RescaleSlope", 1.0) + _first(dataset, "RescaleIntercept", 0.0)
    shades = np.rint(255 * _windowed(modality.astype(np.float32), *_window(dataset, modality, look))).astype(np.uint8)
    return 255 - shades if kind == "MONOCHROME1" else shades


def _window(dataset: Dataset, modality: NDArray[Any], look: Look) -> tuple[float, float, str]:
    if look.window:
        return look.window
    if dataset.get("WindowWidth") and dataset.get("WindowCenter") is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").lower().replace("_", "-")
        return _first(dataset, "WindowCenter", 0.0), _first(dataset, "WindowWidth", 1.0), function
    if dataset.get("Modality") == "CT":
        return (*LUNG_WINDOW, "linear")
    low, high = float(modality.min()), float(modality.max())
    return (low + high) / 2, max(high - low, 1.0), "linear-exact"


def _windowed(x: NDArray[np.float32], centre: float, width: float, function: str) -> NDArray[np.float32]:
    """0 to 1 by PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "sigmoid":
        y = 1 / (1 + np.exp(np.clip(-4 * (x - centre) / max(width, 1e-6), -80, 80)))
    elif function == "linear-exact":
        y = (x - centre) / max(width, 1e-6) + 0.5
    else:
        y = (x - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    return np.asarray(np.clip(y, 0, 1), dtype=np.float32)


def _first(dataset: Dataset, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return default if value in (None, "") else float(value)
