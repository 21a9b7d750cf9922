"""Model bundles: weights, thresholds and what they are called, verified when they are loaded."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Model

DEFAULT_BUNDLE = Path(__file__).parent / "lung_lesion"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """From the share of lung involved to a probability: 1 / (1 + exp(-(intercept + slope * log10(share + floor)))).

    Below ``no_sign_below`` the category is "no sign", from ``sign_from`` on it is "sign".
    """

    intercept: float
    slope: float
    floor: float
    no_sign_below: float
    sign_from: float


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model ready to run. ``lesion_threshold``: probability from which the network's lesion is believed."""

    model: Model
    onnx: bytes
    lesion_threshold: float
    calibration: Calibration


def load_bundle(folder: Path = DEFAULT_BUNDLE) -> Bundle:
    """Read a bundle and check its weights against their digest. Raises OperatorNeeded where it is missing or altered."""
    try:
        card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        onnx = (folder / "network.onnx").read_bytes()
    except (OSError, ValueError) as fault:
        raise OperatorNeeded("The model bundle is missing or damaged; install it again.", code="model-missing") from fault
    digest = hashlib.sha256(onnx).hexdigest()
    if digest != card["sha256"]:
        raise OperatorNeeded(
            f"The model's weights have sha256 {digest[:12]}..., the bundle says {card['sha256'][:12]}...; install it again.",
            code="model-altered",
        )
    return Bundle(
        model=Model(name=card["name"], version=card["version"], device_uid=card["device_uid"], sha256=digest),
        onnx=onnx,
        lesion_threshold=card["lesion_threshold"],
        calibration=Calibration(**card["calibration"]),
    )
