"""The command line: one verb per tool. It parses, shows progress and turns errors into exit statuses; the work is elsewhere."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from pneumoscope import __version__
from pneumoscope.errors import Interrupted, NoEligibleSeries, PneumoscopeError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_interrupts: list[int] = []  # signals that asked us to stop


def main() -> NoReturn:
    """Run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    app()
    raise SystemExit(0)


def _interrupt(number: int, _frame: object) -> NoReturn:
    _interrupts.append(number)
    raise KeyboardInterrupt


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pneumoscope {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Read chest CT for COVID-19 pneumonia. Research software, not a medical device."""


@app.command()
def read(
    path: Annotated[Path, typer.Argument(help="Folder, zip, DICOM file, DICOMDIR, NIfTI, MetaImage or NRRD.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; default: reading.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, on stdout.")] = False,
) -> None:
    """Read one study and write its results.

    With --json and no --out nothing is written. Exit status: 0 read, 3 not readable, 4 this machine needs a person.
    """
    with _told(as_json=as_json):
        _read(path, out=out, as_json=as_json)


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
    with _told(as_json=False):
        try:
            lesions = tuple(map(parse_lesion, lesion or ())) or (() if healthy else SAMPLE.lesions)
            options = {name: value for name, value in given.items() if value is not None}
            spec = replace(SAMPLE, kind=Kind(kind), lesions=lesions, mirrored=mirrored, **options)
            truth, chosen_order = true_volumes_ml(spec), Order(order)
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
        write_all(dicom_parcels(render(spec), order=chosen_order), folder)
    print(f"{spec.slices} images in {folder}; true volumes: " + ", ".join(f"{name} {ml:.1f} ml" for name, ml in truth.items()))


def _read(path: Path, *, out: Path | None, as_json: bool) -> None:
    # what takes long to import is imported once the arguments are known to be right
    from pneumoscope.models import load_bundle
    from pneumoscope.output import check_target, write_all
    from pneumoscope.pipeline import read_path
    from pneumoscope.progress import stage_bars
    from pneumoscope.results.build import build_parcels
    from pneumoscope.results.document import to_dict
    from pneumoscope.summary import print_summary

    started_s = time.monotonic()
    target = out or (None if as_json else Path("reading"))
    if target:
        check_target(target)
    bundle = load_bundle()
    with stage_bars(visible=not as_json) as bars:
        reading = read_path(path, bundle, progress=bars.step)
        if target:
            parcels = build_parcels(reading, progress=lambda done, total: bars.step("build", done, total))
            write_all(parcels, target)
    if as_json:
        print(json.dumps(to_dict(reading), ensure_ascii=False, allow_nan=False))
    else:
        assert target is not None
        print_summary(reading, target, bars.seconds, time.monotonic() - started_s)


@contextlib.contextmanager
def _told(*, as_json: bool) -> Iterator[None]:
    """Say what went wrong in one sentence with its code, and leave with the status that the error asks for."""
    try:
        yield
    except (KeyboardInterrupt, ImportError):
        if not _interrupts:  # a stop while an extension module is imported comes out as an ImportError
            raise
        _leave(Interrupted("Stopped; nothing was written."), as_json=as_json)
    except PneumoscopeError as fault:
        _leave(fault, as_json=as_json)


def _leave(fault: PneumoscopeError, *, as_json: bool) -> NoReturn:
    reasons = fault.reasons if isinstance(fault, NoEligibleSeries) else ()
    if as_json:
        document = {"error": fault.code, "message": str(fault), "reasons": [{"code": c, "text": t} for c, t in reasons]}
        print(json.dumps(document, ensure_ascii=False))
    else:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"[bold red]Not read[/] ({fault.code}): {escape(str(fault))}")
        for code, text in reasons[1:6]:
            console.print(f"  another series ({code}): {text}", markup=False)
        if len(reasons) > 6:
            console.print(f"  and {len(reasons) - 6} more series", markup=False)
    sys.stdout.flush()
    if isinstance(fault, Interrupted):  # at once: no waiting for threads or children that are in the middle of something
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(fault.exit_status)
    raise SystemExit(fault.exit_status)


if __name__ == "__main__":
    main()
