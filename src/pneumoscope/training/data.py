"""Slices for training: read once, scaled to approximate HU, augmented in batches."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, scale_hu
from pneumoscope.training.intensity import levels_from_image, levels_from_masks

#: Every source picture is first put on a square of this side, its longest side filling it.
STORED_SIZE_PX = 256
AIR_HU = -1000.0


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Training slices of one source.

    ``hu``: (n, 256, 256) approximate HU. ``lungs``, ``lesions``: same shape, 0 or 1. ``lungs_known``: (n,) whether ``lungs``
    says anything. ``groups``: the patient, or patient-like block, of each slice.
    """

    hu: NDArray[np.float32]
    lungs: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    lungs_known: NDArray[np.bool_]
    groups: list[str]


def load_slices(root: Path, *, source: str, split: str, labels: tuple[str, ...]) -> Slices:
    """Read one source of the slice sets at ``root``; a set without masks counts as free of lesions."""
    with (root / "manifest.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["set"], r["split"]) == (source, split) and r["label"] in labels]
    hu, lungs, lesions = [], [], []
    for row in rows:
        grey = read_grey(root / row["file"])
        if row["lung_mask"]:
            lung = read_grey(root / row["lung_mask"]) > 127
            lesion = read_grey(root / row["lesion_mask"]) > 127
            levels = levels_from_masks(grey, lungs=lung, lesions=lesion)
        else:
            lung = lesion = np.zeros_like(grey, dtype=bool)
            levels = levels_from_image(grey)
        hu.append(_square(levels.to_hu(grey), fill=AIR_HU, resample=Image.Resampling.BILINEAR))
        lungs.append(_square(lung.astype(np.float32), fill=0, resample=Image.Resampling.NEAREST))
        lesions.append(_square(lesion.astype(np.float32), fill=0, resample=Image.Resampling.NEAREST))
    return Slices(
        hu=np.stack(hu).astype(np.float32),
        lungs=np.stack(lungs).astype(np.uint8),
        lesions=np.stack(lesions).astype(np.uint8),
        lungs_known=np.array([bool(row["lung_mask"]) for row in rows]),
        groups=[row["group"] for row in rows],
    )


def read_grey(path: Path) -> NDArray[np.uint8]:
    """An 8-bit picture (row, column)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def batches(parts: list[tuple[Slices, int]], *, size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """One epoch: ``count`` slices of each part, patients drawn with equal weight, mixed, augmented.

    Yields (batch, 1, s, s) network input, (batch, 2, s, s) masks, (batch, 2, 1, 1) weights that blank unknown masks.
    """
    chosen = [(part, i) for part, count in parts for i in _draw(part.groups, count, rng)]
    order = rng.permutation(len(chosen))
    for start in range(0, len(order) - size + 1, size):
        picked = [chosen[k] for k in order[start : start + size]]
        hu = torch.from_numpy(np.stack([p.hu[i] for p, i in picked]))[:, None]
        masks = torch.from_numpy(np.stack([np.stack([p.lungs[i], p.lesions[i]]) for p, i in picked])).float()
        known = torch.tensor([[float(p.lungs_known[i]), 1.0] for p, i in picked])[:, :, None, None]
        yield (*augment(hu, masks, rng), known)


def _draw(groups: list[str], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Slices with equal weight to each group's square root of size, so that long scans do not drown short ones."""
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weight = (1 / np.sqrt(sizes))[inverse]
    return rng.choice(len(groups), size=count, replace=count > len(groups), p=weight / weight.sum())


def augment(hu: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random framing, scale, level, contrast, sharpness and noise: all that differs between scanners and publishers."""
    n = len(hu)
    angle = torch.from_numpy(rng.normal(0, 0.12, n)).float()
    scale = torch.from_numpy(np.exp(rng.uniform(np.log(0.7), np.log(1.35), n))).float()
    flip = torch.from_numpy(rng.choice([-1.0, 1.0], n)).float()
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = torch.from_numpy(rng.uniform(-0.18, 0.18, (n, 2))).float()
    theta = torch.stack([cos * flip, -sin, shift[:, 0], sin * flip, cos, shift[:, 1]], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, [n, 1, NETWORK_SIZE_PX, NETWORK_SIZE_PX], align_corners=False)
    hu = F.grid_sample(hu - AIR_HU, grid, align_corners=False) + AIR_HU
    masks = (F.grid_sample(masks, grid, align_corners=False) > 0.5).float()

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1))).float()

    hu = (hu + 850) * draw(0.85, 1.15) - 850 + draw(-70, 70)
    blurred = F.avg_pool2d(F.pad(hu, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    hu = hu + (blurred - hu) * draw(-0.8, 1.0)  # below zero sharpens
    noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32))
    smooth_noise = F.avg_pool2d(F.pad(noise, (1, 1, 1, 1)), 3, stride=1) * 2
    hu = hu + draw(0, 50) * torch.where(draw(0, 1) > 0.5, noise, smooth_noise)
    image = torch.from_numpy(scale_hu(hu.numpy()))
    return image ** torch.exp(draw(-0.25, 0.25)), masks


def _square(array: NDArray[np.float32], *, fill: float, resample: Image.Resampling) -> NDArray[np.float32]:
    factor = STORED_SIZE_PX / max(array.shape)
    height, width = (max(1, round(side * factor)) for side in array.shape)
    scaled = np.asarray(Image.fromarray(array.astype(np.float32)).resize((width, height), resample))
    out = np.full((STORED_SIZE_PX, STORED_SIZE_PX), fill, dtype=np.float32)
    top, left = (STORED_SIZE_PX - height) // 2, (STORED_SIZE_PX - width) // 2
    out[top : top + height, left : left + width] = scaled
    return out
