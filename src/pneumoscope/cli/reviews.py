"""Verbs of what people answered to readings."""

from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.cli.options import Config
from pneumoscope.cli.telling import told

app = typer.Typer(no_args_is_help=True, help="What people answered to readings.")


@app.callback()
def reviews_options() -> None:
    """Keep ``export`` a word of its own, though it is the only one."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .csv or .jsonl.")],
    labels: Annotated[bool, typer.Option("--labels", help="One row a study with a label, as evaluate takes it.")] = False,
    identified: Annotated[bool, typer.Option("--identified", help="With study UIDs, readers and words as they are.")] = False,
    config: Config = None,
) -> None:
    """Write the answers to this node's readings as data, under pseudonyms unless told otherwise."""
    if out.suffix not in (".csv", ".jsonl") or (labels and out.suffix != ".csv"):
        raise typer.BadParameter("the file's name must end in .csv or .jsonl; labels are .csv")
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.reviews import export as write

        number = write(load_settings(config), out, identified=identified, labels=labels)
    print(f"{number} rows in {out}.")
