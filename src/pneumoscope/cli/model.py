"""Verbs of the models of this machine."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.cli.options import Positive, Processes, Unsigned, bundle_of
from pneumoscope.cli.telling import told

app = typer.Typer(no_args_is_help=True, help="List, check, install and compare models.")


@app.command("list")
def list_models() -> None:
    """Show the models of this machine, shipped and installed, and whether each is whole."""
    with told(as_json=False):
        from pneumoscope.models.library import places
        from pneumoscope.models.listing import print_places

        print_places(places())


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a model; default: that shipped.")] = None,
    unsigned: Unsigned = False,
) -> None:
    """Check every byte of a model against its signature, and say what was checked. Exit status: 0 whole, 4 not."""
    with told(as_json=False):
        from pneumoscope.models import DEFAULT_BUNDLE, examine, trust
        from pneumoscope.models.listing import print_examination

        found = examine(folder or DEFAULT_BUNDLE, trust=trust(unsigned=unsigned))
        print_examination(found)
        if found.fault:
            raise found.fault


@app.command()
def install(
    source: Annotated[Path, typer.Argument(help="Folder or zip of a model.")],
    replace_it: Annotated[bool, typer.Option("--replace", help="Even over a newer one, or another of this version.")] = False,
) -> None:
    """Check a model and put it beside the others; nothing is written before every check has passed."""
    with told(as_json=False):
        from pneumoscope.intake.archive import unpack
        from pneumoscope.models.library import install as put

        with tempfile.TemporaryDirectory() as scratch:
            if source.is_file():
                unpack(source, to=Path(scratch), keep_names=True)
            target = put(Path(scratch) if source.is_file() else source, replace=replace_it)
        print(f"Installed as {target.name}; use it by --model {target.name}.")


@app.command()
def compare(  # noqa: PLR0913, PLR0917 - each is an option of the verb
    model_a: Annotated[str, typer.Argument(help="Installed model, folder of one, or shipped.")],
    model_b: Annotated[str, typer.Argument(help="The other.")],
    labels: Annotated[Path, typer.Argument(help="CSV with the columns path and label, as for evaluate.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for both assessments and the comparison.")] = Path("comparison"),
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take models without signature, for development.")] = False,
    positive: Positive = None,
    processes: Processes = None,
) -> None:
    """Compare two models on the same labelled cases, by paired tests."""
    with told(as_json=False):
        from pneumoscope.evaluation.compare import compare_models, print_comparison
        from pneumoscope.progress import case_bar

        names = (model_a, model_b)
        bundles = tuple(bundle_of(None if name == "shipped" else name, unsigned=unsigned) for name in names)
        with case_bar() as step:
            document = compare_models(labels, bundles, out, positive=tuple(positive or ()), processes=processes, progress=step)
        print_comparison(document, out)
