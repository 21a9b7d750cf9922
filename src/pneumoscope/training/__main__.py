"""Train, package, and say how good it is: ``python -m pneumoscope.training --help``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.models import DEFAULT_BUNDLE, Trust, load_bundle

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
DATA = Path("../shared/data")
LESION_THRESHOLD = 0.5

Data = Annotated[Path, typer.Option(help="Folder that holds slices/ and volumes/.")]


@app.command()
def train(
    recipe: Path,
    out: Path,
    data: Data = DATA,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    without: Annotated[str, typer.Option(help="Leave out the labels of this source.")] = "",
) -> None:
    """Train by a recipe into a folder of runs; go on where an earlier run stopped."""
    from pneumoscope.training.loop import Recipe
    from pneumoscope.training.loop import train as run

    print(run(Recipe.read(recipe, seed=seed, without=without), data=data, out=out))


@app.command()
def package(
    checkpoint: Path,
    version: str,
    to: Path = DEFAULT_BUNDLE,
    data: Data = DATA,
    key: Annotated[Path | None, typer.Option(help="Private key to sign with; without one the bundle stays unsigned.")] = None,
) -> None:
    """Export a checkpoint, calibrate it on validation groups, fingerprint its training images, and sign the bundle."""
    from pneumoscope.evaluation.fingerprints import FILE_NAME as FINGERPRINTS
    from pneumoscope.segmentation import LungLesionNetwork
    from pneumoscope.training.calibrate import SOURCES, fit_calibration, measure_shares
    from pneumoscope.training.export import export_onnx
    from pneumoscope.training.prints import training_fingerprints
    from pneumoscope.training.signing import WEIGHTS_NAME, write_manifest

    to.mkdir(parents=True, exist_ok=True)
    export_onnx(checkpoint, to=to / WEIGHTS_NAME)
    network = LungLesionNetwork((to / WEIGHTS_NAME).read_bytes())
    shares = {source: measure_shares(network, data / "slices", source=source, split="val") for source in SOURCES}
    calibration = fit_calibration(shares)
    (to / FINGERPRINTS).write_bytes(training_fingerprints(data / "slices"))
    write_manifest(to, version=version, lesion_threshold=LESION_THRESHOLD, calibration=calibration)
    if key:
        sign(to, key)
    print(calibration)


@app.command()
def keygen(secret: Path, public: Path) -> None:
    """Make a key pair to sign bundles with; keep SECRET away from any repository."""
    from pneumoscope.training.signing import make_key

    make_key(secret, public)


@app.command()
def sign(bundle: Path, key: Path) -> None:
    """Sign a bundle's manifest."""
    from pneumoscope.training.signing import sign as write_signature

    write_signature(bundle, key)


@app.command()
def evidence(card: Path = Path("docs/model-card.md"), bundle: Path = DEFAULT_BUNDLE, data: Data = DATA) -> None:
    """Measure the bundle on what was held out, and write the model card."""
    from pneumoscope.training.evidence import gather, write_card

    loaded = load_bundle(bundle, trusted=Trust(unsigned=True))
    facts = gather(loaded, data)
    (bundle / "evidence.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_card(loaded, facts, to=card)
    print(card)


if __name__ == "__main__":
    app()
