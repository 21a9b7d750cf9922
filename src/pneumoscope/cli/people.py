"""Verbs of the accounts of people."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli.options import Config
from pneumoscope.cli.telling import told

if TYPE_CHECKING:
    from pneumoscope.config import Role, Settings

app = typer.Typer(no_args_is_help=True, help="List, add and reset the accounts of people.")


@app.command("list")
def list_people(config: Config = None) -> None:
    """Show who may log in, and as what."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.people import print_everyone
        from pneumoscope.node.prepare import prepare

        settings = load_settings(config)
        prepare(settings)
        print_everyone(settings)


RoleOption = Annotated[
    list[str] | None, typer.Option("--role", help="reader, technician, administrator, auditor; again for more.")
]


@app.command("add")
def add_person(
    login: Annotated[str, typer.Argument(help="Name to log in with.")],
    role: RoleOption = None,
    name: Annotated[str, typer.Option("--name", help="Name that others see.")] = "",
    config: Config = None,
) -> None:
    """Make an account and show its first password, which must be changed at the first login."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.people import add
        from pneumoscope.node.prepare import prepare

        roles = _roles(role)
        if not roles:
            raise typer.BadParameter("give at least one --role")
        settings = load_settings(config)
        prepare(settings)
        print(f"First password of {login}: {add(settings, login, name=name, roles=roles)}")


@app.command("reset")
def reset_person(
    login: Annotated[str, typer.Argument(help="Name to log in with.")], role: RoleOption = None, config: Config = None
) -> None:
    """Open and unlock an account, log it out everywhere, and show a new first password; --role sets its roles too."""
    with told(as_json=False):
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


def tell_how_to_log_in(settings: "Settings") -> None:
    """Where a node or hub serves: a first account, or how to make one."""
    from pneumoscope.node.prepare import FIRST, first_account, is_anybody_there

    if not sys.stdout.isatty():  # what is written elsewhere may be kept, and a password must not
        if not is_anybody_there(settings):
            print("Nobody can log in yet: `pneumoscope people add` makes an account.", flush=True)
    elif password := first_account(settings):
        print(f"Log in as {FIRST} with the first password {password} (shown only now, to be changed then).", flush=True)
