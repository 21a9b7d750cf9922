"""The command line: one verb per tool. It parses, shows progress and turns errors into exit statuses; the work is elsewhere."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from pneumoscope import __version__
from pneumoscope.errors import Interrupted, NoEligibleSeries, PneumoscopeError
from pneumoscope.hub import commands as hub_commands

if TYPE_CHECKING:
    from pneumoscope.config import Role, Settings
    from pneumoscope.models import Bundle
    from pneumoscope.store.service import Service

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
people_app = typer.Typer(no_args_is_help=True, help="List, add and reset the accounts of people.")
app.add_typer(people_app, name="people")
models_app = typer.Typer(no_args_is_help=True, help="List, check, install and compare models.")
app.add_typer(models_app, name="model")
reviews_app = typer.Typer(no_args_is_help=True, help="What people answered to readings.")
app.add_typer(reviews_app, name="reviews")
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
    model: Annotated[str | None, typer.Option("--model", help="Installed model, or its folder; default: that shipped.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take a model without signature, for development.")] = False,
) -> None:
    """Read one study and write its results.

    With --json and no --out nothing is written. Exit status: 0 read, 3 not readable, 4 this machine needs a person.
    """
    with _told(as_json=as_json):
        _read(path, out=out, as_json=as_json, bundle=lambda: _bundle(model, unsigned=unsigned))


@app.command()
def evaluate(  # noqa: PLR0913, PLR0917 - each is an option of the verb
    labels: Annotated[Path, typer.Argument(help="CSV with the columns path and label, perhaps patient, site, sex, age, ...")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the assessment; goes on where an earlier run stopped.")] = Path(
        "assessment"
    ),
    model: Annotated[str | None, typer.Option("--model", help="Installed model, or its folder; default: that shipped.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take a model without signature, for development.")] = False,
    positive: Annotated[list[str] | None, typer.Option("--positive", help="Label that counts as 1; again for more.")] = None,
    prevalence: Annotated[
        list[float] | None, typer.Option("--prevalence", min=0.001, max=0.999, help="For predictive values; again for more.")
    ] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1, max=256, help="Default: one for each core.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Score every case anew.")] = False,
) -> None:
    """Assess the model on labelled cases of your own: studies, volume files, 8-bit pictures.

    Cases that cannot be read are counted, not dropped. Exit status: 0 assessed, 3 the list is not usable, 4 needs a person.
    """
    with _told(as_json=False):
        from pneumoscope.evaluation.run import evaluate_labels, print_assessment
        from pneumoscope.progress import case_bar

        bundle = _bundle(model, unsigned=unsigned)
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


Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file, TOML; default: that named by PNEUMOSCOPE_CONFIG.")
]


@app.command()
def serve(config: Config = None) -> None:
    """Run the node: DICOM listener, web server and workers, all on this machine, until stopped."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.serve import address
        from pneumoscope.node.serve import serve as run

        settings = load_settings(config)
        listens = f"DICOM: {settings.dicom.ae_title} on port {settings.dicom.port}. Studies: {address(settings)}"

        def ready() -> None:
            print(f"The node is ready. {listens}", flush=True)
            _tell_how_to_log_in(settings)

        run(settings, file=config, ready=ready)


def _tell_how_to_log_in(settings: "Settings") -> None:
    from pneumoscope.node.prepare import FIRST, first_account, is_anybody_there

    if not sys.stdout.isatty():  # what is written elsewhere may be kept, and a password must not
        if not is_anybody_there(settings):
            print("Nobody can log in yet: `pneumoscope people add` makes an account.", flush=True)
    elif password := first_account(settings):
        print(f"Log in as {FIRST} with the first password {password} (shown only now, to be changed then).", flush=True)


@people_app.command("list")
def list_people(config: Config = None) -> None:
    """Show who may log in, and as what."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.people import print_everyone
        from pneumoscope.node.prepare import prepare

        settings = load_settings(config)
        prepare(settings)
        print_everyone(settings)


RoleOption = Annotated[
    list[str] | None, typer.Option("--role", help="reader, technician, administrator, auditor; again for more.")
]


@people_app.command("add")
def add_person(
    login: Annotated[str, typer.Argument(help="Name to log in with.")],
    role: RoleOption = None,
    name: Annotated[str, typer.Option("--name", help="Name that others see.")] = "",
    config: Config = None,
) -> None:
    """Make an account and show its first password, which must be changed at the first login."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.people import add
        from pneumoscope.node.prepare import prepare

        roles = _roles(role)
        if not roles:
            raise typer.BadParameter("give at least one --role")
        settings = load_settings(config)
        prepare(settings)
        print(f"First password of {login}: {add(settings, login, name=name, roles=roles)}")


@people_app.command("reset")
def reset_person(
    login: Annotated[str, typer.Argument(help="Name to log in with.")], role: RoleOption = None, config: Config = None
) -> None:
    """Open and unlock an account, log it out everywhere, and show a new first password; --role sets its roles too."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.people import reset
        from pneumoscope.node.prepare import prepare

        roles = _roles(role)
        settings = load_settings(config)
        prepare(settings)
        print(f"First password of {login}: {reset(settings, login, roles=roles)}")


def _roles(given: list[str] | None) -> "list[Role]":
    from pneumoscope.config import Role

    try:
        return [Role(role) for role in given or ()]
    except ValueError:
        raise typer.BadParameter(f"--role is one of {', '.join(Role)}") from None


@app.command()
def work(config: Config = None) -> None:
    """Run one more worker, here or on another machine that shares the node's database and folder, until stopped."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.prepare import prepare
        from pneumoscope.worker.process import run

        settings = load_settings(config)
        prepare(settings)
        run(settings)


@app.command()
def check(config: Config = None) -> None:
    """Look whether the node can work: disk, model, database, clock, ports, certificates, peers. Exit status 4 if not."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.errors import OperatorNeeded
        from pneumoscope.node.check import check as look
        from pneumoscope.node.screen import print_check

        if wrong := print_check(look(load_settings(config))):
            raise OperatorNeeded(f"{wrong} of these must be put right.", code="check-failed")


@app.command()
def viewer(
    archive: Annotated[
        Path | None, typer.Argument(help="The viewer's archive, where it was fetched before.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Put the viewer of images beside the node: fetched once from the npm registry, and checked."""
    with _told(as_json=False):
        from pneumoscope.node.viewer import install, pinned

        fresh = install(archive)
        print(f"The viewer is in place: OHIF {pinned().version}{'' if fresh else ', as before'}.")


@app.command()
def backfill(
    folder: Annotated[Path | None, typer.Argument(help="Folder of old studies, which is left as it is.")] = None,
    pacs: Annotated[str | None, typer.Option("--pacs", help="Or a PACS that the settings name.")] = None,
    since: Annotated[str, typer.Option("--since", help="From this study date on, YYYYMMDD.")] = "",
    until: Annotated[str, typer.Option("--until", help="Up to this study date, YYYYMMDD.")] = "",
    config: Config = None,
) -> None:
    """Bring old studies to a running node, never before new ones; goes on where it stopped."""
    if (folder is None) == (pacs is None):
        raise typer.BadParameter("give a folder or --pacs")
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.backfill import run
        from pneumoscope.progress import case_bar

        with case_bar("taking in old studies") as step:
            told = run(load_settings(config), folder=folder, pacs=pacs, since=since, until=until, progress=step)
        print(told)


@reviews_app.callback()
def reviews_options() -> None:
    """Keep ``export`` a word of its own, though it is the only one."""


@reviews_app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .csv or .jsonl.")],
    labels: Annotated[bool, typer.Option("--labels", help="One row a study with a label, as evaluate takes it.")] = False,
    identified: Annotated[bool, typer.Option("--identified", help="With study UIDs, readers and words as they are.")] = False,
    config: Config = None,
) -> None:
    """Write the answers to this node's readings as data, under pseudonyms unless told otherwise."""
    if out.suffix not in (".csv", ".jsonl") or (labels and out.suffix != ".csv"):
        raise typer.BadParameter("the file's name must end in .csv or .jsonl; labels are .csv")
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.reviews import export as write

        number = write(load_settings(config), out, identified=identified, labels=labels)
    print(f"{number} rows in {out}.")


@models_app.command("list")
def list_models() -> None:
    """Show the models of this machine, shipped and installed, and whether each is whole."""
    with _told(as_json=False):
        from pneumoscope.models.library import places
        from pneumoscope.models.listing import print_places

        print_places(places())


@models_app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a model; default: that shipped.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take a model without signature, for development.")] = False,
) -> None:
    """Check every byte of a model against its signature, and say what was checked. Exit status: 0 whole, 4 not."""
    with _told(as_json=False):
        from pneumoscope.models import DEFAULT_BUNDLE, examine, trust
        from pneumoscope.models.listing import print_examination

        found = examine(folder or DEFAULT_BUNDLE, trust=trust(unsigned=unsigned))
        print_examination(found)
        if found.fault:
            raise found.fault


@models_app.command()
def install(
    source: Annotated[Path, typer.Argument(help="Folder or zip of a model.")],
    replace_it: Annotated[bool, typer.Option("--replace", help="Even over a newer one, or another of this version.")] = False,
) -> None:
    """Check a model and put it beside the others; nothing is written before every check has passed."""
    with _told(as_json=False):
        from pneumoscope.intake.archive import unpack
        from pneumoscope.models.library import install as put

        with tempfile.TemporaryDirectory() as scratch:
            if source.is_file():
                unpack(source, to=Path(scratch), keep_names=True)
            target = put(Path(scratch) if source.is_file() else source, replace=replace_it)
        print(f"Installed as {target.name}; use it by --model {target.name}.")


@models_app.command()
def compare(  # noqa: PLR0913, PLR0917 - each is an option of the verb
    model_a: Annotated[str, typer.Argument(help="Installed model, folder of one, or shipped.")],
    model_b: Annotated[str, typer.Argument(help="The other.")],
    labels: Annotated[Path, typer.Argument(help="CSV with the columns path and label, as for evaluate.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for both assessments and the comparison.")] = Path("comparison"),
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take models without signature, for development.")] = False,
    positive: Annotated[list[str] | None, typer.Option("--positive", help="Label that counts as 1; again for more.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1, max=256, help="Default: one for each core.")] = None,
) -> None:
    """Compare two models on the same labelled cases, by paired tests."""
    with _told(as_json=False):
        from pneumoscope.evaluation.compare import compare_models, print_comparison
        from pneumoscope.progress import case_bar

        names = (model_a, model_b)
        bundles = tuple(_bundle(None if name == "shipped" else name, unsigned=unsigned) for name in names)
        with case_bar() as step:
            document = compare_models(labels, bundles, out, positive=tuple(positive or ()), processes=processes, progress=step)
        print_comparison(document, out)


def _bundle(model: str | None, *, unsigned: bool) -> "Bundle":
    from pneumoscope.models import DEFAULT_BUNDLE, load_bundle, trust
    from pneumoscope.models.library import find

    return load_bundle(find(model) if model else DEFAULT_BUNDLE, trusted=trust(unsigned=unsigned))


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


service_app = typer.Typer(no_args_is_help=False, help="Which model serves, and what becomes of its readings.")
app.add_typer(service_app, name="service")
By = Annotated[str, typer.Option("--by", help="Login name of the person who does it.")]
And = Annotated[str, typer.Option("--and", help="Login name of the second person.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept and shown.")]
Assessed = Annotated[Path, typer.Option("--assessment", help="assessment.json of evaluate, on cases of this site.")]


@service_app.callback(invoke_without_command=True)
def show_service(context: typer.Context, config: Config = None) -> None:
    """Show which model serves, in which mode, and what was decided."""
    if context.invoked_subcommand is None:
        with _serving(config) as (settings, service):
            service.show(settings)


@service_app.command("try")
def try_model(
    model: Annotated[str, typer.Argument(help="Installed model that reads beside the present one.")],
    by: By,
    reason: Why = "",
    config: Config = None,
) -> None:
    """Have another model read beside the one in service, for comparison alone."""
    with _serving(config) as (settings, service):
        _served(service.try_beside(settings, model, person=by, reason=reason))


@service_app.command()
def release(by: By, and_: And, assessment: Assessed, reason: Why = "", config: Config = None) -> None:
    """Show and send the readings of the model in service from now on."""
    with _serving(config) as (settings, service):
        _served(service.by_two(settings, "release", people=(by, and_), reason=reason, assessment=assessment))


@service_app.command()
def promote(by: By, and_: And, assessment: Assessed, reason: Why = "", config: Config = None) -> None:
    """Put the candidate in the place of the model in service."""
    with _serving(config) as (settings, service):
        _served(service.by_two(settings, "promote", people=(by, and_), reason=reason, assessment=assessment))


@service_app.command("stop")
def stop_model(by: By, reason: Why, config: Config = None) -> None:
    """Take the model out of service at once; readers are told by whom and why."""
    with _serving(config) as (settings, service):
        _served(service.by_one(settings, "stop", person=by, reason=reason))


@service_app.command()
def resume(by: By, and_: And, reason: Why = "", config: Config = None) -> None:
    """Put a model that was stopped back in service."""
    with _serving(config) as (settings, service):
        _served(service.by_two(settings, "resume", people=(by, and_), reason=reason))


@service_app.command("back")
def step_back(by: By, reason: Why = "", config: Config = None) -> None:
    """Withdraw the candidate, or go back to the model that was in service before."""
    with _serving(config) as (settings, service):
        _served(service.by_one(settings, "back", person=by, reason=reason))


@service_app.command("limits")
def own_limits(
    by: By,
    between: Annotated[
        tuple[float, float] | None, typer.Option("--between", help="No sign below, sign from; none: those of the model.")
    ] = None,
    reason: Why = "",
    config: Config = None,
) -> None:
    """Set this site's own limits of the categories, within those that the hub allows."""
    with _serving(config) as (settings, service):
        _served(service.set_limits(settings, limits=between, person=by, reason=reason))


@contextlib.contextmanager
def _serving(config: Path | None) -> "Iterator[tuple[Settings, Any]]":
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node import service
        from pneumoscope.node.prepare import prepare

        settings = load_settings(config)
        prepare(settings)
        yield settings, service


def _served(found: "Service") -> None:
    beside = f", beside it {found.candidate}" if found.candidate else ""
    print(f"{found.model or 'The model of the settings'} is {found.mode}{beside}.")


app.add_typer(hub_commands.make(_told, welcome=_tell_how_to_log_in), name="hub")


@app.command()
def join(
    token: Annotated[str, typer.Argument(help="What `pneumoscope hub invite` printed.")],
    keep_live: Annotated[
        bool, typer.Option("--keep-live", help="A node that serves already goes on showing its readings.")
    ] = False,
    config: Config = None,
) -> None:
    """Join a fleet by a one-time token, or again by a new one; its model reads in shadow then, until two people release it."""
    with _told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.member.joining import join as enter
        from pneumoscope.node.prepare import prepare

        settings = load_settings(config)
        prepare(settings)
        print(enter(settings, token, keep_live=keep_live).told())


if __name__ == "__main__":
    main()
