"""Verbs of the hub of a fleet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli.options import Config
from pneumoscope.cli.people import tell_how_to_log_in
from pneumoscope.cli.telling import told

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pneumoscope.config import Settings
    from pneumoscope.store import Store

app = typer.Typer(help="Run the hub of a fleet, and let hospitals and models in.")
ACTOR = "command line"
Rollout = Annotated[str, typer.Option("--rollout", help="Its id; default: the newest.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in words.")]


@app.callback(invoke_without_command=True)
def run(context: typer.Context, config: Config = None) -> None:
    """Run the hub of a fleet until stopped: pages for people, and a listener for sites."""
    if context.invoked_subcommand is not None:
        return
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.hub.addresses import pages_url
        from pneumoscope.hub.process import serve

        settings = load_settings(config)

        def ready() -> None:
            print(f"The hub is ready. Pages: {pages_url(settings.hub)}/", flush=True)
            tell_how_to_log_in(settings)

        serve(settings, ready=ready)


@app.command()
def invite(
    site: Annotated[str | None, typer.Option("--site", help="Title of a new site.")] = None,
    province: Annotated[str | None, typer.Option("--province", help="Its province.")] = None,
    again: Annotated[str | None, typer.Option("--again", help="Or a site that gets another token.")] = None,
    config: Config = None,
) -> None:
    """Print a token by which one hospital joins once."""
    if bool(again) == bool(site) or bool(site) != bool(province):
        raise typer.BadParameter("give --site and --province, or --again")
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.hub.inviting import invite as make_token

        settings = load_settings(config)
        token = make_token(settings, title=site or "", province=province or "", again=again or "", actor=ACTOR)
        print(f"Valid for {settings.hub.invitation_hours:g} hours, once. On the hospital's node: pneumoscope join TOKEN")
        print(token)


@app.command("shut-out")
def shut_out(site: Annotated[str, typer.Argument(help="Title or id of the site.")], config: Config = None) -> None:
    """Listen to a site no more, from now on; `invite --again` lets it in again."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.hub.inviting import shut_out as shut

        print(f"{shut(load_settings(config), site, actor=ACTOR)} is shut out.")


@app.command()
def offer(
    bundle: Annotated[Path, typer.Argument(help="Folder of a signed model.", exists=True, file_okay=False)],
    config: Config = None,
) -> None:
    """Check every byte of a model against its signature, and offer it to sites; nothing that does not verify is offered."""
    with told(as_json=False), _steering(config) as (steering, store, _):
        one = steering.offer(store, bundle, actor=ACTOR)
        print(f"Offered: {one.model}, {one.size_bytes / 1e6:.1f} MB, SHA-256 {one.sha256}.")


@app.command("roll-out")
def roll_out(
    model: Annotated[str, typer.Argument(help="Name and version, such as 'lung-lesion 2.0.0'.")],
    canary: Annotated[list[str], typer.Option("--canary", help="Title or id of a site that goes first; again for more.")],
    share: Annotated[
        list[float] | None, typer.Option("--share", help="Share of all sites after the canaries; again for more stages.")
    ] = None,
    config: Config = None,
) -> None:
    """Bring an offered model to all sites, stage by stage, each through its gate. Without --share: a quarter, then all."""
    with told(as_json=False), _steering(config) as (steering, store, _):
        with store.database.begin() as db:
            shares = [0.25] if share is None else share
            rollout_id = steering.roll_out(db, model, canaries=canary, shares=shares, actor=ACTOR)
        print(f"Roll-out {rollout_id} begins with {', '.join(canary)}.")


@app.command()
def pause(rollout: Rollout = "", reason: Reason = "", config: Config = None) -> None:
    """Let a roll-out move no further; sites stay where they are."""
    with _moving(config, rollout, "is paused") as (steering, db, row, _):
        steering.pause(db, row, actor=ACTOR, reason=reason)


@app.command()
def resume(rollout: Rollout = "", reason: Reason = "", config: Config = None) -> None:
    """Let a paused roll-out go on; what broke its gate counts no more."""
    with _moving(config, rollout, "goes on") as (steering, db, row, settings):
        steering.resume(db, row, settings.hub, actor=ACTOR, reason=reason)


@app.command()
def back(
    rollout: Rollout = "",
    site: Annotated[str, typer.Option("--site", help="Title or id: this site alone.")] = "",
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Have all sites of a roll-out, or one, return to what they ran before."""
    with told(as_json=False), _steering(config) as (steering, store, _):
        with store.database.begin() as db:
            row = steering.find(db, rollout)
            if site:
                steering.back_site(db, row, site, actor=ACTOR, reason=reason)
                what = f"{site} goes back"
            else:
                what = f"{steering.back(db, row, actor=ACTOR, reason=reason)} sites go back"
        print(f"{what} from {row['model']}.")


@app.command()
def stop(
    model: Annotated[str, typer.Argument(help="Name and version, such as 'lung-lesion 2.0.0'.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in words that readers everywhere are shown.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Ask no more; each site resumes by its own people.")] = False,
    config: Config = None,
) -> None:
    """Have every site take a model out of service, as soon as it reports."""
    with told(as_json=False), _steering(config) as (steering, store, _):
        with store.database.begin() as db:
            if lift:
                steering.lift(db, steering.find_stop(db, model), actor=ACTOR, reason=reason)
                what = f"Sites are asked no more to stop {model}; where it is stopped, two people of the site resume it."
            else:
                steering.stop(db, model, actor=ACTOR, reason=reason)
                what = f"{model} is to be out of service everywhere: each site hears it with its next report."
        print(what)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .csv, or .json for FHIR.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="So many days until today.")] = 30,
    config: Config = None,
) -> None:
    """Write what the fleet reported, by province, hospital and day, or as FHIR MeasureReports by province."""
    if out.suffix not in (".csv", ".json"):
        raise typer.BadParameter("the file's name must end in .csv or .json")
    with told(as_json=False), _steering(config) as (_, store, settings):
        from pneumoscope.hub.exporting import write

        write(store.database, out, days=days, reporter=settings.hub.name)
        print(f"Written: {out}.")


@contextmanager
def _steering(config: Path | None) -> "Iterator[tuple[ModuleType, Store, Settings]]":
    from pneumoscope.config import load_settings
    from pneumoscope.hub import steering
    from pneumoscope.hub.prepare import prepare

    settings = load_settings(config)
    store = prepare(settings)
    try:
        yield steering, store, settings
    finally:
        store.database.close()


@contextmanager
def _moving(
    config: Path | None, rollout: str, words: str
) -> "Iterator[tuple[ModuleType, sa.Connection, sa.RowMapping, Settings]]":
    """One transaction on a roll-out; ``words`` say what has become of it."""
    with told(as_json=False), _steering(config) as (steering, store, settings):
        with store.database.begin() as db:
            row = steering.find(db, rollout)
            yield steering, db, row, settings
        print(f"The roll-out of {row['model']} {words}.")
