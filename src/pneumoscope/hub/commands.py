"""The verbs of the hub on the command line, which the work is beside."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

if TYPE_CHECKING:
    from pneumoscope.config import Settings

ACTOR = "command line"
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file, TOML; default: that named by PNEUMOSCOPE_CONFIG.")
]


class Telling(Protocol):
    """Says what went wrong and leaves with the status that the error asks for."""

    def __call__(self, *, as_json: bool) -> AbstractContextManager[None]:
        """Around the work."""


def make(telling: Telling, *, welcome: "Callable[[Settings], None]") -> typer.Typer:
    """The verbs; ``welcome`` says how to log in, once the hub serves."""
    app = typer.Typer(help="Run the hub of a fleet, and let hospitals and models in.")

    @app.callback(invoke_without_command=True)
    def hub(context: typer.Context, config: Config = None) -> None:
        """Run the hub of a fleet until stopped: pages for people, and a listener for sites."""
        if context.invoked_subcommand is not None:
            return
        with telling(as_json=False):
            from pneumoscope.config import load_settings
            from pneumoscope.hub.addresses import pages_url
            from pneumoscope.hub.process import serve

            settings = load_settings(config)

            def ready() -> None:
                print(f"The hub is ready. Pages: {pages_url(settings.hub)}/", flush=True)
                welcome(settings)

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
        with telling(as_json=False):
            from pneumoscope.config import load_settings
            from pneumoscope.hub.inviting import invite as make_token

            settings = load_settings(config)
            token = make_token(settings, title=site or "", province=province or "", again=again or "", actor=ACTOR)
            print(f"Valid for {settings.hub.invitation_hours:g} hours, once. On the hospital's node: pneumoscope join TOKEN")
            print(token)

    @app.command("shut-out")
    def shut_out(site: Annotated[str, typer.Argument(help="Title or id of the site.")], config: Config = None) -> None:
        """Listen to a site no more, from now on; `invite --again` lets it in again."""
        with telling(as_json=False):
            from pneumoscope.config import load_settings
            from pneumoscope.hub.inviting import shut_out as shut

            print(f"{shut(load_settings(config), site, actor=ACTOR)} is shut out.")

    return app
