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
    left_out: Annotated[
        list[str] | None,
        typer.Option(
            help="SOURCE=CHECKPOINT of the same recipe without that source; calibrates there, as at an unknown hospital."
        ),
    ] = None,
) -> None:
    """Export a checkpoint, calibrate it, fingerprint its training images, and sign the bundle."""
    from pneumoscope.evaluation.fingerprints import FILE_NAME as FINGERPRINTS
    from pneumoscope.segmentation import LungLesionNetwork
    from pneumoscope.training.calibrate import SOURCES, fit_calibration, measure_slices
    from pneumoscope.training.export import export_onnx, onnx_bytes
    from pneumoscope.training.prints import training_fingerprints
    from pneumoscope.training.signing import WEIGHTS_NAME, write_manifest

    to.mkdir(parents=True, exist_ok=True)
    export_onnx(checkpoint, to=to / WEIGHTS_NAME)
    network = LungLesionNetwork((to / WEIGHTS_NAME).read_bytes())
    others = dict(pair.split("=", 1) for pair in left_out or ())
    seen = {}
    for source in SOURCES:
        if source in others:  # none of its groups but those of the test split may be kept from the calibration
            other = LungLesionNetwork(onnx_bytes(Path(others[source])))
            seen[source] = measure_slices(other, data / "slices", source=source, splits=("train", "val"))
        else:
            seen[source] = measure_slices(network, data / "slices", source=source, splits=("val",))
    calibration = fit_calibration(seen)
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
def ablate(  # noqa: PLR0913, PLR0917 - each is an option of the verb
    checkpoint: Path,
    name: Annotated[str, typer.Option(help="How the table calls it.")],
    learnt: Annotated[str, typer.Option(help="Sources of slices or labels in its training, by spaces.")] = "",
    seed: int = 1,
    to: Path = DEFAULT_BUNDLE,
    data: Data = DATA,
    also_test: Annotated[bool, typer.Option(help="Also the test split; only for what was chosen already.")] = False,
) -> None:
    """Measure another training run for the card's table, and keep the figures in the bundle's folder."""
    from pneumoscope.models import Calibration
    from pneumoscope.models.manifest import MANIFEST_NAME
    from pneumoscope.training.ablations import FILE_NAME, add_run, measure_run

    shipped = Calibration(**json.loads((to / MANIFEST_NAME).read_text())["calibration"])
    for facts in measure_run(checkpoint, name=name, learnt=learnt, seed=seed, data=data, also_test=also_test, shipped=shipped):
        add_run(facts, to / FILE_NAME)
        print(facts["name"], json.dumps({key: value["value"] for key, value in facts["auc"].items()}))


@app.command()
def evidence(
    docs: Path = Path("docs"),
    bundle: Path = DEFAULT_BUNDLE,
    data: Data = DATA,
    failures: Path = Path("build/failures.html"),
    key: Annotated[Path | None, typer.Option(help="Private key to sign the bundle with, whose card is new.")] = None,
) -> None:
    """Measure the bundle on what was held out, and write the model card, its picture, and a page of the worst errors."""
    from dataclasses import asdict

    from pneumoscope.evaluation.charts import reliability_svg, standalone
    from pneumoscope.models import Calibration
    from pneumoscope.models.manifest import MANIFEST_NAME
    from pneumoscope.training.ablations import FILE_NAME
    from pneumoscope.training.card import card_text
    from pneumoscope.training.evidence import gather
    from pneumoscope.training.failures import write_failures
    from pneumoscope.training.signing import write_manifest

    manifest = json.loads((bundle / MANIFEST_NAME).read_text())
    calibration = Calibration(**manifest["calibration"])
    numbers = {"version": manifest["version"], "lesion_threshold": manifest["lesion_threshold"]}
    write_manifest(bundle, **numbers, calibration=calibration)
    loaded = load_bundle(bundle, trusted=Trust(unsigned=True))
    facts = {**gather(loaded, data), "runs": json.loads((bundle / FILE_NAME).read_text())}
    card = card_text(loaded, facts)
    (docs / "model-card.md").write_text(card, encoding="utf-8")
    (docs / "images" / "reliability.svg").write_text(standalone(reliability_svg(facts["slices"][-1]["bins"])), encoding="utf-8")
    write_failures(loaded, facts["worst"], data / "slices", to=failures)
    (bundle / "evidence.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (bundle / "card.md").write_text(card, encoding="utf-8")
    write_manifest(bundle, **numbers, calibration=calibration)
    if key:
        sign(bundle, key)
    print(docs / "model-card.md", failures, asdict(calibration))


if __name__ == "__main__":
    app()
