"""The command line: one verb per tool. It parses, shows progress and turns errors into exit statuses; the work is elsewhere."""

import signal
from typing import Annotated, NoReturn

import typer

from pneumoscope import __version__
from pneumoscope.cli import hub, model, node, people, reading, reviews, service
from pneumoscope.cli.telling import interrupt

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(reading.app)
app.add_typer(node.app)
app.add_typer(people.app, name="people")
app.add_typer(model.app, name="model")
app.add_typer(reviews.app, name="reviews")
app.add_typer(service.app, name="service")
app.add_typer(hub.app, name="hub")


def main() -> NoReturn:
    """Run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    app()
    raise SystemExit(0)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pneumoscope {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Read chest CT for COVID-19 pneumonia. Research software, not a medical device."""
