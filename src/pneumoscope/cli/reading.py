"""Verbs that need no node: read a study, assess the model, make a synthetic CT."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pneumoscope.cli.options import Model, Positive, Processes, Unsigned, bundle_of
from pneumoscope.cli.telling import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from pneumoscope.models import Bundle

app = typer.Typer()


@app.command()
def read(
    path: Annotated[Path, typer.Argument(help="Folder, zip, DICOM file, DICOMDIR, NIfTI, MetaImage or NRRD.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; default: reading.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, on stdout.")] = False,
    model: Model = None,
    unsigned: Unsigned = False,
) -> None:
    """Read one study and write its results.

    With --json and no --out nothing is written. Exit status: 0 read, 3 not readable, 4 this machine needs a person.
    """
    with told(as_json=as_json, undone="Not read"):
        _read(path, out=out, as_json=as_json, bundle=lambda: bundle_of(model, unsigned=unsigned))


@app.command()
def evaluate(  # noqa: PLR0913, PLR0917 - each is an option of the verb
    labels: Annotated[Path, typer.Argument(help="CSV with the columns path and label, perhaps patient, site, sex, age, ...")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the assessment; goes on where an earlier run stopped.")] = Path(
        "assessment"
    ),
    model: Model = None,
    unsigned: Unsigned = False,
    positive: Positive = None,
    prevalence: Annotated[
        list[float] | None, typer.Option("--prevalence", min=0.001, max=0.999, help="For predictive values; again for more.")
    ] = None,
    processes: Processes = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Score every case anew.")] = False,
) -> None:
    """Assess the model on labelled cases of your own: studies, volume files, 8-bit pictures.

    Cases that cannot be read are counted, not dropped. Exit status: 0 assessed, 3 the list is not usable, 4 needs a person.
    """
    with told(as_json=False):
        from pneumoscope.evaluation.run import evaluate_labels, print_assessment
        from pneumoscope.progress import case_bar

        bundle = bundle_of(model, unsigned=unsigned)
        with case_bar() as step:
            document = evaluate_labels(
                labels,
                bundle,
                out,
                positive=tuple(positive or ()),
                prevalences=tuple(prevalence or (0.05, 0.2, 0.5)),
                processes=processes,
                fresh=fresh,
                progress=step,
            )
        print_assessment(document, out)


@app.command()
def phantom(  # noqa: PLR0913, PLR0917 - each is an option of the verb
    folder: Annotated[Path, typer.Argument(help="New folder for the study.")],
    lesion: Annotated[
        list[str] | None, typer.Option("--lesion", help="KIND:X,Y,Z:ML, as ground-glass:-90,45,110:20; again for more.")
    ] = None,
    healthy: Annotated[bool, typer.Option("--healthy", help="Without the sample's lesions.")] = False,
    kind: Annotated[str, typer.Option("--kind", help="chest, head, abdomen or water.")] = "chest",
    slices: Annotated[int | None, typer.Option("--slices", min=1, max=5000)] = None,
    spacing_mm: Annotated[float | None, typer.Option("--spacing-mm", min=0.1, max=50)] = None,
    thickness_mm: Annotated[float | None, typer.Option("--thickness-mm", min=0.1, max=50)] = None,
    size_px: Annotated[int | None, typer.Option("--size-px", min=32, max=2048)] = None,
    pixel_mm: Annotated[float | None, typer.Option("--pixel-mm", min=0.1, max=10)] = None,
    noise_hu: Annotated[float | None, typer.Option("--noise-hu", min=0, max=500)] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Vessels and noise.")] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Right and left swapped.")] = False,
    order: Annotated[str, typer.Option("--order", help="Of file names: head-first, feet-first, shuffled.")] = "head-first",
) -> None:
    """Write a synthetic CT as DICOM files and print its true volumes; without options, the sample study."""
    from pneumoscope.output import write_all
    from pneumoscope.phantom import SAMPLE, Kind, Order, dicom_parcels, parse_lesion, render, true_volumes_ml

    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise typer.BadParameter("the folder must be new or empty")
    given: dict[str, Any] = {
        "slices": slices,
        "slice_spacing_mm": spacing_mm,
        "slice_thickness_mm": thickness_mm,
        "size_px": size_px,
        "pixel_spacing_mm": pixel_mm,
        "noise_hu": noise_hu,
        "seed": seed,
    }
    with told(as_json=False):
        try:
            lesions = tuple(map(parse_lesion, lesion or ())) or (() if healthy else SAMPLE.lesions)
            options = {name: value for name, value in given.items() if value is not None}
            spec = replace(SAMPLE, kind=Kind(kind), lesions=lesions, mirrored=mirrored, **options)
            truth, chosen_order = true_volumes_ml(spec), Order(order)
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
        write_all(dicom_parcels(render(spec), order=chosen_order), folder)
    print(f"{spec.slices} images in {folder}; true volumes: " + ", ".join(f"{name} {ml:.1f} ml" for name, ml in truth.items()))


def _read(path: Path, *, out: Path | None, as_json: bool, bundle: "Callable[[], Bundle]") -> None:
    from pneumoscope.output import check_target, write_all

    started_s = time.monotonic()
    target = out or (None if as_json else Path("reading"))
    if target:
        check_target(target)
    # what takes long to import is imported once the arguments are known to be right
    from pneumoscope.pipeline import read_path
    from pneumoscope.progress import stage_bars
    from pneumoscope.results.build import build_parcels
    from pneumoscope.results.document import to_dict
    from pneumoscope.summary import print_summary

    loaded = bundle()
    with stage_bars(visible=not as_json) as bars:
        reading = read_path(path, loaded, progress=bars.step)
        if target:
            parcels = build_parcels(reading, progress=lambda done, total: bars.step("build", done, total))
            write_all(parcels, target)
    if as_json:
        print(json.dumps(to_dict(reading), ensure_ascii=False, allow_nan=False))
    else:
        assert target is not None
        print_summary(reading, target, bars.seconds, time.monotonic() - started_s)
