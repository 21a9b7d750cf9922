"""Train, package, and say how good it is: ``python -m pneumoscope.training --help``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.models import DEFAULT_BUNDLE, load_bundle
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.training.calibrate import SOURCES, fit_calibration, measure_shares

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
DATA = Path("../shared/data")
LESION_THRESHOLD = 0.5

Data = Annotated[Path, typer.Option(help="Folder that holds slices/ and volumes/.")]


@app.command()
def train(recipe: Path, out: Path, data: Data = DATA) -> None:
    """Train by a recipe into a folder of runs; go on where an earlier run stopped."""
    from pneumoscope.training.loop import Recipe
    from pneumoscope.training.loop import train as run

    print(run(Recipe.read(recipe), data=data, out=out))


@app.command()
def package(checkpoint: Path, version: str, to: Path = DEFAULT_BUNDLE, data: Data = DATA) -> None:
    """Export a checkpoint, calibrate it on the training groups of the labelled sources, and write the bundle."""
    from pneumoscope.training.export import export_onnx
    from pneumoscope.training.package import package as write

    onnx = checkpoint.with_suffix(".onnx")
    export_onnx(checkpoint, to=onnx)
    network = LungLesionNetwork(onnx.read_bytes())
    shares = {
        source: measure_shares(network, data / "slices", source=source, split="train", lesion_threshold=LESION_THRESHOLD)
        for source in SOURCES
    }
    calibration = fit_calibration(shares)
    write(onnx, to=to, version=version, lesion_threshold=LESION_THRESHOLD, calibration=calibration)
    print(json.dumps(calibration))


@app.command()
def evidence(card: Path = Path("docs/model-card.md"), bundle: Path = DEFAULT_BUNDLE, data: Data = DATA) -> None:
    """Measure the bundle on what was held out, and write the model card."""
    from pneumoscope.training.evidence import gather, write_card

    loaded = load_bundle(bundle)
    facts = gather(loaded, data)
    (bundle / "evidence.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_card(loaded, facts, to=card)
    print(card)


if __name__ == "__main__":
    app()
