"""Slices for training: read once, scaled to approximate HU, augmented in batches."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from pneumoscope.intensity import LUNG_HU, MUSCLE_HU, aerated_lungs, levels_from_image, levels_from_masks
from pneumoscope.phantom import training_slice
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, scale_hu
from pneumoscope.singleslice import AIR_HU, STORED_SIZE_PX, read_grey, square

#: Lesions pasted into healthy lungs make a positive where they take more than this share of them.
PASTED_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Training slices of one source.

    ``hu``: (n, 256, 256) approximate HU. ``lungs``, ``lesions``: same shape, 0 or 1. ``groups``: the patient, or
    patient-like block, of each slice.
    """

    hu: NDArray[np.float32]
    lungs: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    groups: list[str]


def load_slices(root: Path, *, source: str, split: str, labels: tuple[str, ...]) -> Slices:
    """Read one source of the slice sets at ``root``.

    A set without masks counts as free of lesions, and its lungs are found by threshold.
    """
    return _read(root, [row for row in _rows(root, source=source, split=split) if row["label"] in labels])


def labelled_slices(root: Path, *, source: str, split: str) -> tuple[Slices, list[str]]:
    """All slices of one source and split, and the label of each; masks mean nothing."""
    rows = _rows(root, source=source, split=split)
    return _read(root, rows), [row["label"] for row in rows]


def _rows(root: Path, *, source: str, split: str) -> list[dict[str, str]]:
    with (root / "manifest.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if (row["set"], row["split"]) == (source, split)]


def _read(root: Path, rows: list[dict[str, str]]) -> Slices:
    hu, lungs, lesions = [], [], []
    for row in rows:
        grey = read_grey(root / row["file"])
        if row["lung_mask"]:
            lung = read_grey(root / row["lung_mask"]) > 127
            lesion = read_grey(root / row["lesion_mask"]) > 127
            levels = levels_from_masks(grey, lungs=lung, lesions=lesion)
        else:
            lesion = np.zeros_like(grey, dtype=bool)
            levels = levels_from_image(grey)
            lung = aerated_lungs(levels.to_hu(grey))
        hu.append(square(levels.to_hu(grey), fill=AIR_HU, resample=Image.Resampling.BILINEAR))
        lungs.append(square(lung.astype(np.float32), fill=0, resample=Image.Resampling.NEAREST))
        lesions.append(square(lesion.astype(np.float32), fill=0, resample=Image.Resampling.NEAREST))
    return Slices(
        hu=np.stack(hu).astype(np.float32),
        lungs=np.stack(lungs).astype(np.uint8),
        lesions=np.stack(lesions).astype(np.uint8),
        groups=[row["group"] for row in rows],
    )


def phantom_slices(count: int, *, seed: int) -> Slices:
    """Synthetic slices, from below the lungs to the neck, with and without lesions: exact masks, and no hospital's mark."""
    rng = np.random.default_rng([seed, 17])
    made = [training_slice(rng, size_px=STORED_SIZE_PX, pixel_spacing_mm=1.5) for _ in range(count)]
    hu, lungs, lesions = (np.stack([slices[part] for slices in made]) for part in range(3))
    return Slices(
        hu=hu,
        lungs=lungs.astype(np.uint8),
        lesions=lesions.astype(np.uint8),
        groups=[f"phantom_{k}" for k in range(count)],
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Slices drawn from one source each epoch; ``paste``: the share that gets the lesions of ``lesion_donors``."""

    slices: Slices
    per_epoch: int
    paste: float = 0.0


def batches(
    parts: list[Part], *, donors: NDArray[np.uint8], size: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: patients drawn with like weight, sources mixed, augmented.

    ``donors``: (n, 256, 256) lesion masks for pasting. Yields (batch, 1, s, s) network input, (batch, 2, s, s) masks.
    """
    chosen = [(part, i) for part in parts for i in _draw(part.slices.groups, part.per_epoch, rng)]
    order = rng.permutation(len(chosen))
    for start in range(0, len(order) - size + 1, size):
        images, masks = [], []
        for part, i in (chosen[k] for k in order[start : start + size]):
            hu, lungs, lesions = part.slices.hu[i], part.slices.lungs[i], part.slices.lesions[i]
            if rng.random() < part.paste:
                hu, lesions = paste_lesions(hu, lungs=lungs, shape=donors[rng.integers(len(donors))], rng=rng)
            images.append(hu)
            masks.append(np.stack([lungs, lesions]))
        yield augment(torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(masks)).float(), rng)


def paste_lesions(
    hu: NDArray[np.float32], *, lungs: NDArray[np.uint8], shape: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Give healthy lungs the lesions of another patient, so that disease is not the mark of one source.

    The donor's lesion mask is turned, scaled and shifted; inside the lungs tissue is thickened to ground-glass or
    consolidation with a soft edge and a mottled texture, vessels staying visible where the lesion is faint.
    """
    angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.7, 1.4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    centre = np.array(shape.shape) / 2
    shift = centre - turn @ centre + rng.uniform(-25, 25, 2)
    moved = ndimage.affine_transform(shape.astype(np.float32), turn, offset=shift, order=1) > 0.5
    if rng.random() < 0.5:
        moved = moved[:, ::-1]
    lesions = moved & (lungs > 0)
    mottle = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), rng.uniform(0.8, 3))
    target = rng.choice([rng.uniform(-720, -400), rng.uniform(-400, -50), rng.uniform(-50, 60)], p=[0.6, 0.2, 0.2])
    target = target + mottle / (mottle.std() + 1e-6) * rng.uniform(20, 120)
    weight = ndimage.gaussian_filter(lesions.astype(np.float32), rng.uniform(0.5, 1.6)) * (lungs > 0)
    air = np.clip((MUSCLE_HU - hu) / (MUSCLE_HU - LUNG_HU), 0, 1)  # 1 in aerated lung, 0 in a vessel
    pasted = hu + weight * air * np.maximum(target - LUNG_HU, 60)
    return pasted.astype(np.float32), lesions.astype(np.uint8)


def _draw(groups: list[str], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Slices with equal weight to each group's square root of size, so that long scans do not drown short ones."""
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weight = (1 / np.sqrt(sizes))[inverse]
    return rng.choice(len(groups), size=count, replace=count > len(groups), p=weight / weight.sum())


@dataclass(frozen=True, kw_only=True)
class LabelledPart:
    """Slices of one source with a label each, 1 or 0; their lungs are those that an earlier network found.

    ``clean``: (n,) whether it shows healthy lungs, which may get lesions of others and become a positive.
    """

    slices: Slices
    labels: NDArray[np.int64]
    clean: NDArray[np.bool_]
    per_epoch: int


def labelled_batches(
    parts: list[LabelledPart], *, donors: NDArray[np.uint8], size: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: within each source both labels alike, patients with like weight; yields network input and (batch,) labels.

    A source without positives gets them by lesions pasted into its healthy lungs, so that no source stands for a label. Half
    of the slices lose all but their lungs, and half lose sharpness, so that neither table, arrows and arms nor the resolution
    of a source's pictures can stand for disease.
    """
    chosen = []
    for part in parts:
        for wanted in (0, 1):
            pasted = wanted == 1 and not part.labels.any()
            members = np.flatnonzero(part.clean if pasted else part.labels == wanted)
            drawn = _draw([part.slices.groups[i] for i in members], part.per_epoch // 2, rng)
            chosen += [(part, int(members[i]), pasted) for i in drawn]
    order = rng.permutation(len(chosen))
    for start in range(0, len(order) - size + 1, size):
        images: list[NDArray[np.float32]] = []
        labels: list[float] = []
        for part, i, pasted in (chosen[k] for k in order[start : start + size]):
            hu, lungs, label = part.slices.hu[i], part.slices.lungs[i], float(part.labels[i])
            if pasted:
                hu, lesions = paste_lesions(hu, lungs=lungs, shape=donors[rng.integers(len(donors))], rng=rng)
                label = float(lesions.sum() > PASTED_SHARE * max(1, lungs.sum()))
            images.append(_worsen(_maybe_lungs_only(hu, lungs > 0, rng), rng))
            labels.append(label)
        stacked = torch.from_numpy(np.stack(images))[:, None]
        image, _ = augment(stacked, torch.zeros(size, 1, 1, 1).expand(-1, 2, *stacked.shape[2:]), rng)
        yield image, torch.tensor(labels)


def _maybe_lungs_only(hu: NDArray[np.float32], lungs: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    if rng.random() < 0.5 or not lungs.any():
        return hu
    near = ndimage.binary_dilation(lungs, iterations=int(rng.integers(2, 7)))
    return np.where(near, hu, rng.uniform(AIR_HU, 100)).astype(np.float32)


def _worsen(hu: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """As if published at a smaller size, by half."""
    if rng.random() < 0.5:
        return hu
    side = round(STORED_SIZE_PX / rng.uniform(1.0, 2.6))
    small = Image.fromarray(hu).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((STORED_SIZE_PX, STORED_SIZE_PX), Image.Resampling.BICUBIC))


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
