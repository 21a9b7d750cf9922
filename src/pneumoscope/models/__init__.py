"""Model bundles: weights, thresholds and what they are called, signed, and verified when they are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.models.examine import Check, Examination, examine
from pneumoscope.models.keys import PublicKey, Trust, home, trust
from pneumoscope.models.manifest import Calibration, Manifest
from pneumoscope.records import Model, Notice

__all__ = [
    "DEFAULT_BUNDLE",
    "Bundle",
    "Calibration",
    "Check",
    "Examination",
    "Manifest",
    "PublicKey",
    "Trust",
    "examine",
    "home",
    "load_bundle",
    "trust",
]

DEFAULT_BUNDLE = Path(__file__).parent / "lung_lesion"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model ready to run. ``lesion_threshold``: probability from which the network's lesion is believed.

    ``files``: the verified bytes of every file of the bundle. ``notices``: what a reader of its results should know.
    """

    model: Model
    onnx: bytes
    lesion_threshold: float
    calibration: Calibration
    files: Mapping[str, bytes]
    notices: tuple[Notice, ...] = ()


def load_bundle(folder: Path = DEFAULT_BUNDLE, *, trusted: Trust | None = None) -> Bundle:
    """Read a bundle whose every byte is vouched for by a key of ``trusted``, by default those of this machine.

    Raises OperatorNeeded where anything is missing, altered, added, or not signed by such a key.
    """
    found = examine(folder, trust=trusted or trust())
    if found.fault:
        raise found.fault
    assert found.manifest is not None
    manifest = found.manifest
    unsigned = Notice(
        code="unsigned-model", text="The model that made this reading was not signed; it is for development only."
    )
    return Bundle(
        model=Model(
            name=manifest.name,
            version=manifest.version,
            device_uid=manifest.device_uid,
            sha256=manifest.files[manifest.weights].sha256,
        ),
        onnx=found.files[manifest.weights],
        lesion_threshold=manifest.lesion_threshold,
        calibration=manifest.calibration,
        files=found.files,
        notices=() if found.signer else (unsigned,),
    )
