"""Verbs of which model serves, and what becomes of its readings."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pneumoscope.cli.options import Config
from pneumoscope.cli.telling import told

if TYPE_CHECKING:
    from pneumoscope.config import Settings
    from pneumoscope.store.service import Service

app = typer.Typer(no_args_is_help=False, help="Which model serves, and what becomes of its readings.")


By = Annotated[str, typer.Option("--by", help="Login name of the person who does it.")]
And = Annotated[str, typer.Option("--and", help="Login name of the second person.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept and shown.")]
Assessed = Annotated[Path, typer.Option("--assessment", help="assessment.json of evaluate, on cases of this site.")]


@app.callback(invoke_without_command=True)
def show_service(context: typer.Context, config: Config = None) -> None:
    """Show which model serves, in which mode, and what was decided."""
    if context.invoked_subcommand is None:
        with _serving(config) as (settings, service):
            service.show(settings)


@app.command("try")
def try_model(
    model: Annotated[str, typer.Argument(help="Installed model that reads beside the present one.")],
    by: By,
    reason: Why = "",
    config: Config = None,
) -> None:
    """Have another model read beside the one in service, for comparison alone."""
    with _serving(config) as (settings, service):
        _served(service.try_beside(settings, model, person=by, reason=reason))


@app.command()
def release(by: By, and_: And, assessment: Assessed, reason: Why = "", config: Config = None) -> None:
    """Show and send the readings of the model in service from now on."""
    with _serving(config) as (settings, service):
        _served(service.by_two(settings, "release", people=(by, and_), reason=reason, assessment=assessment))


@app.command()
def promote(by: By, and_: And, assessment: Assessed, reason: Why = "", config: Config = None) -> None:
    """Put the candidate in the place of the model in service."""
    with _serving(config) as (settings, service):
        _served(service.by_two(settings, "promote", people=(by, and_), reason=reason, assessment=assessment))


@app.command("stop")
def stop_model(by: By, reason: Why, config: Config = None) -> None:
    """Take the model out of service at once; readers are told by whom and why."""
    with _serving(config) as (settings, service):
        _served(service.by_one(settings, "stop", person=by, reason=reason))


@app.command()
def resume(by: By, and_: And, reason: Why = "", config: Config = None) -> None:
    """Put a model that was stopped back in service."""
    with _serving(config) as (settings, service):
        _served(service.by_two(settings, "resume", people=(by, and_), reason=reason))


@app.command("back")
def step_back(by: By, reason: Why = "", config: Config = None) -> None:
    """Withdraw the candidate, or go back to the model that was in service before."""
    with _serving(config) as (settings, service):
        _served(service.by_one(settings, "back", person=by, reason=reason))


@app.command("limits")
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
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node import service
        from pneumoscope.node.prepare import prepare

        settings = load_settings(config)
        prepare(settings)
        yield settings, service


def _served(found: "Service") -> None:
    beside = f", beside it {found.candidate}" if found.candidate else ""
    print(f"{found.model or 'The model of the settings'} is {found.mode}{beside}.")
