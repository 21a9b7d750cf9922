"""The training loop: one recipe in, checkpoints and a log out; resumes where it stopped."""

import csv
import json
import time
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pneumoscope.segmentation.evidence import LEAST_LESION, MIN_LUNG_SHARE
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, scale_hu
from pneumoscope.training.calibrate import FLOOR, auc
from pneumoscope.training.data import (
    LabelledPart,
    Part,
    Slices,
    batches,
    labelled_batches,
    labelled_slices,
    load_slices,
    phantom_slices,
)
from pneumoscope.training.network import LungLesionNet

#: Labels are the patient's, not the slice's: some slices of the sick show nothing. In each batch this share of the positives,
#: those that fit their label least, teaches nothing.
DOUBTED = 0.2
SMOOTHING = 0.05


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a training run is made of; read from a TOML file in ``recipes/``.

    ``parts`` have masks, ``labelled`` a label for each slice; ``start_from`` names the run whose last network is continued.
    """

    seed: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    parts: list[dict[str, Any]]
    validation: dict[str, Any]
    start_from: str = ""
    labelled_batch: int = 0
    label_weight: float = 1.0
    labelled: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, *, seed: int | None = None, without: str = "") -> "Recipe":
        """Read a recipe file; ``without`` leaves out one source, to see what the others teach about it."""
        recipe = cls(**tomllib.loads(path.read_text()))
        parts, labelled = ([part for part in some if part["source"] != without] for some in (recipe.parts, recipe.labelled))
        return replace(recipe, parts=parts, labelled=labelled, seed=recipe.seed if seed is None else seed)


def train(recipe: Recipe, *, data: Path, out: Path) -> Path:
    """Train to the recipe's last epoch and return the checkpoint; an existing checkpoint in ``out`` is continued."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, log = out / "last.pt", out / "log.csv"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    network = LungLesionNet(pretrained=not recipe.start_from).to(device, memory_format=torch.channels_last)
    if recipe.start_from:
        network.load_state_dict(torch.load(recipe.start_from, map_location=device)["network"])
    logistic = nn.Parameter(torch.tensor([2.0, 1.0], device=device))  # intercept and slope on log10 of the lesion's share
    optimiser = torch.optim.AdamW(
        [{"params": network.parameters(), "rate": 1.0}, {"params": [logistic], "rate": 10.0, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )
    parts = [Part(slices=_load(data, part), per_epoch=part["per_epoch"], paste=part.get("paste", 0.0)) for part in recipe.parts]
    labelled = [_load_labelled(data, part, network, device=device) for part in recipe.labelled]
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        logistic.data.copy_(state["logistic"])
        first = state["epoch"] + 1
    donors = np.concatenate([p.slices.lesions[p.slices.lesions.any((1, 2))] for p in parts])
    held_out = _load(data, recipe.validation)
    judged = {part["source"]: _load_judged(data, part) for part in recipe.labelled if part["positive"]}
    steps = sum(part.per_epoch for part in parts) // recipe.batch
    for epoch in range(first, recipe.epochs):
        started_s, losses = time.monotonic(), []
        rng = np.random.default_rng([recipe.seed, epoch])
        network.train()
        labels = labelled_batches(labelled, donors=donors, size=recipe.labelled_batch, rng=rng) if labelled else iter(())
        for step, (image, masks) in enumerate(batches(parts, donors=donors, size=recipe.batch, rng=rng)):
            rate = _learning_rate(recipe, (epoch + step / steps) / recipe.epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["rate"]
            more, label = next(labels, (image[:0], torch.zeros(0)))
            logits, maps = network(torch.cat([image, more]).to(device, memory_format=torch.channels_last))
            loss = segmentation_loss(logits[: len(image)], masks.to(device))
            if len(more):
                score = slice_logits(logits[len(image) :].detach(), maps[len(image) :], logistic)
                loss = loss + recipe.label_weight * label_loss(score, label.to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
        row = {
            "epoch": epoch,
            "loss": round(float(np.mean(losses)), 4),
            **validate(network, held_out, device=device),
            **{f"{source}_val_auc": _label_auc(network, *shown, logistic, device=device) for source, shown in judged.items()},
            "seconds": round(time.monotonic() - started_s, 1),
        }
        _log(log, row)
        print(json.dumps(row), flush=True)
        state = {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "logistic": logistic.data,
            "labelled": bool(labelled),
            "epoch": epoch,
        }
        torch.save(state, checkpoint)
    return checkpoint


def slice_logits(logits: Tensor, maps: Tensor, logistic: Tensor) -> Tensor:
    """(batch, 2, s, s) logits of masks and (batch, c, c) maps of evidence to the (batch,) log odds of the slice.

    The same sums as ``segmentation.evidence``, in torch.
    """
    probability = torch.sigmoid(logits)
    lungs = (probability.amax(1) > 0.5).float()
    lesions = probability[:, 1] * lungs
    cell = logits.shape[2] // maps.shape[1]
    lung, lesion = F.avg_pool2d(lungs, cell), F.avg_pool2d(lesions, cell)
    least = MIN_LUNG_SHARE * lung[0].numel()
    lung_sum, lesion_sum = lung.sum((1, 2)).clamp(min=least), lesion.sum((1, 2))
    pattern = (maps * lesion).sum((1, 2)) / (lesion_sum + LEAST_LESION * lung_sum)
    return logistic[0] + logistic[1] * torch.log10(lesion_sum / lung_sum + FLOOR) + pattern


def label_loss(score: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of slice labels (batch,) given their log odds, over all but the doubted positives."""
    target = labels * (1 - 2 * SMOOTHING) + SMOOTHING
    loss = F.binary_cross_entropy_with_logits(score, target, reduction="none")
    sick = loss[labels > 0.5].sort().values
    return torch.cat([sick[: round(len(sick) * (1 - DOUBTED))], loss[labels < 0.5]]).mean()


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the batch, for each of lung and lesion."""
    cross = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((0, 2, 3))
    probability = torch.sigmoid(logits)
    overlap = (probability * masks).sum((0, 2, 3))
    dice = (2 * overlap + 50) / (probability.sum((0, 2, 3)) + masks.sum((0, 2, 3)) + 50)
    return (cross * torch.tensor([1.0, 2.0], device=cross.device) + (1 - dice)).sum()


@torch.no_grad()
def validate(network: LungLesionNet, slices: Slices, *, device: torch.device) -> dict[str, float]:
    """Dice of lung and lesion, pooled over each patient's slices, mean over patients."""
    logits, _ = _infer(network, slices.hu, device=device)
    found = (F.interpolate(logits, size=slices.hu.shape[1:], mode="bilinear") > 0).numpy()
    scores: dict[str, list[float]] = {"lung_dice": [], "lesion_dice": []}
    for group in sorted(set(slices.groups)):
        members = np.array([g == group for g in slices.groups])
        for channel, (name, truth) in enumerate(zip(scores, (slices.lungs, slices.lesions), strict=True)):
            a, b = found[members, channel], truth[members] > 0
            scores[name].append(2 * float((a & b).sum()) / max(1, int(a.sum() + b.sum())))
    return {name: round(float(np.mean(values)), 4) for name, values in scores.items()}


@torch.no_grad()
def _infer(network: LungLesionNet, hu: NDArray[np.float32], *, device: torch.device) -> tuple[Tensor, Tensor]:
    """(n, 256, 256) HU to (n, 2, s, s) logits and (n, c, c) maps of evidence."""
    network.eval()
    found = []
    for start in range(0, len(hu), 32):
        image = torch.from_numpy(scale_hu(hu[start : start + 32]))[:, None]
        image = F.interpolate(image, size=(NETWORK_SIZE_PX, NETWORK_SIZE_PX), mode="bilinear", antialias=True)
        found.append([part.cpu() for part in network(image.to(device, memory_format=torch.channels_last))])
    logits, maps = zip(*found, strict=True)
    return torch.cat(logits), torch.cat(maps)


def _load_labelled(data: Path, part: dict[str, Any], network: LungLesionNet, *, device: torch.device) -> LabelledPart:
    """Slices of the labels wanted; their lungs are those that the network finds."""
    slices, names = labelled_slices(data / "slices", source=part["source"], split=part["split"])
    wanted = [i for i, name in enumerate(names) if name in (*part["positive"], *part["negative"])]
    hu = slices.hu[wanted]
    logits, _ = _infer(network, hu, device=device)
    lungs = F.interpolate((logits.amax(1, keepdim=True) > 0).float(), size=hu.shape[1:])[:, 0]
    return LabelledPart(
        slices=Slices(
            hu=hu,
            lungs=lungs.numpy().astype(np.uint8),
            lesions=np.zeros(lungs.shape, dtype=np.uint8),
            groups=[slices.groups[i] for i in wanted],
        ),
        labels=np.array([names[i] in part["positive"] for i in wanted], dtype=np.int64),
        clean=np.array([names[i] == part.get("clean") for i in wanted]),
        per_epoch=part["per_epoch"],
    )


def _load_judged(data: Path, part: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Slices of the source's validation groups with their labels, 1 or 0."""
    slices, names = labelled_slices(data / "slices", source=part["source"], split="val")
    return slices.hu, np.array([name in part["positive"] for name in names], dtype=np.int64)


def _label_auc(
    network: LungLesionNet, hu: NDArray[np.float32], labels: NDArray[np.int64], logistic: Tensor, *, device: torch.device
) -> float:
    """AUC of the log odds."""
    logits, maps = _infer(network, hu, device=device)
    score = slice_logits(logits, maps, logistic.detach().cpu()).numpy().astype(np.float64)
    return round(auc(score, labels), 4)


def _load(data: Path, part: dict[str, Any]) -> Slices:
    if part["source"] == "phantom":
        return phantom_slices(part["count"], seed=part["seed"])
    return load_slices(data / "slices", source=part["source"], split=part["split"], labels=tuple(part["labels"]))


def _learning_rate(recipe: Recipe, progress: float) -> float:
    """A short warm-up, then a cosine to zero."""
    return recipe.learning_rate * min(1.0, progress / 0.05) * 0.5 * (1 + float(np.cos(np.pi * progress)))


def _log(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
