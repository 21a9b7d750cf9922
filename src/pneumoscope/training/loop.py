"""The training loop: one recipe in, checkpoints and a log out; resumes where it stopped."""

import csv
import json
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, scale_hu
from pneumoscope.training.data import Part, Slices, batches, load_slices, phantom_slices
from pneumoscope.training.network import LungLesionNet


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a training run is made of; read from a TOML file in ``recipes/``."""

    seed: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    parts: list[dict[str, Any]]
    validation: dict[str, Any]
    start_from: str = ""

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe file."""
        return cls(**tomllib.loads(path.read_text()))


def train(recipe: Recipe, *, data: Path, out: Path) -> Path:
    """Train to the recipe's last epoch and return the checkpoint; an existing checkpoint in ``out`` is continued."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, log = out / "last.pt", out / "log.csv"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    network = LungLesionNet().to(device, memory_format=torch.channels_last)
    if recipe.start_from:
        network.load_state_dict(torch.load(recipe.start_from, map_location=device)["network"])
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["epoch"] + 1
    parts = [Part(slices=_load(data, part), per_epoch=part["per_epoch"], paste=part.get("paste", 0.0)) for part in recipe.parts]
    donors = np.concatenate([p.slices.lesions[p.slices.lesions.any((1, 2))] for p in parts])
    held_out = _load(data, recipe.validation)
    steps = sum(part.per_epoch for part in parts) // recipe.batch
    for epoch in range(first, recipe.epochs):
        started_s, losses = time.monotonic(), []
        rng = np.random.default_rng([recipe.seed, epoch])
        network.train()
        for step, (image, masks) in enumerate(batches(parts, donors=donors, size=recipe.batch, rng=rng)):
            rate = _learning_rate(recipe, (epoch + step / steps) / recipe.epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate
            logits = network(image.to(device, memory_format=torch.channels_last))
            loss = segmentation_loss(logits, masks.to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
        row = {
            "epoch": epoch,
            "loss": round(float(np.mean(losses)), 4),
            **validate(network, held_out, device=device),
            "seconds": round(time.monotonic() - started_s, 1),
        }
        _log(log, row)
        print(json.dumps(row), flush=True)
        torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch}, checkpoint)
    return checkpoint


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
    network.eval()
    image = torch.from_numpy(scale_hu(slices.hu))[:, None]
    image = F.interpolate(image, size=(NETWORK_SIZE_PX, NETWORK_SIZE_PX), mode="bilinear", antialias=True)
    logits = torch.cat([network(chunk.to(device)).cpu() for chunk in image.split(16)])
    found = (F.interpolate(logits, size=slices.hu.shape[1:], mode="bilinear") > 0).numpy()
    scores: dict[str, list[float]] = {"lung_dice": [], "lesion_dice": []}
    for group in sorted(set(slices.groups)):
        members = np.array([g == group for g in slices.groups])
        for channel, (name, truth) in enumerate(zip(scores, (slices.lungs, slices.lesions), strict=True)):
            a, b = found[members, channel], truth[members] > 0
            scores[name].append(2 * float((a & b).sum()) / max(1, int(a.sum() + b.sum())))
    return {name: round(float(np.mean(values)), 4) for name, values in scores.items()}


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
