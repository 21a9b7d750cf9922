"""A trained network to a bundle: weights, digest, calibration, name."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

NAMESPACE = uuid.UUID("3f0d8a52-4e0e-4c6f-8f2c-0d7a5c1b9e44")


def package(onnx: Path, *, to: Path, version: str, lesion_threshold: float, calibration: dict[str, Any]) -> None:
    """Write weights and ``bundle.json``; the Device UID follows from the weights, so it changes with every retraining."""
    to.mkdir(parents=True, exist_ok=True)
    content = onnx.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (to / "network.onnx").write_bytes(content)
    card = {
        "name": "lung-lesion",
        "version": version,
        "device_uid": f"2.25.{uuid.uuid5(NAMESPACE, digest).int}",
        "sha256": digest,
        "lesion_threshold": lesion_threshold,
        "calibration": calibration,
    }
    (to / "bundle.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
