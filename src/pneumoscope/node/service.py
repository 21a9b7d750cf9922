"""Which model serves, from the command line: for those who may write the node's database, in the names of its people."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from pneumoscope.config import Settings
from pneumoscope.errors import InputNotFound, OperatorNeeded, Rejected
from pneumoscope.fleet import acceptance, orders
from pneumoscope.models.library import title_of
from pneumoscope.node.people import ACTOR
from pneumoscope.store import Database, accounts, audit, service
from pneumoscope.store.service import Service

#: Acts of two people that need an assessment of the model on cases of this site.
ASSESSED = ("release", "promote")


def show(settings: Settings) -> None:
    """What serves, and what was decided, the latest first."""
    with_default = _default(settings)
    found, rows = _looked(settings, lambda db: (service.current(db, with_default), service.history(db, limit=20)))
    console = Console(highlight=False, markup=False)
    console.print(f"{found.model or 'the model of the settings'}: {found.mode}")
    for name, value in (("candidate", found.candidate), ("previous", found.previous)):
        if value:
            console.print(f"{name}: {value}")
    if found.sign_from is not None:
        console.print(f"limits of this site: no sign below {found.no_sign_below:g}, sign from {found.sign_from:g}")
    table = Table("when", "what", "who", "model", "mode", "why", box=None)
    for row in rows:
        who = " and ".join(filter(None, (row["actor"], row["second"])))
        table.add_row(f"{row['at']:%Y-%m-%d %H:%M} UTC", row["act"], who, row["model"], row["mode"], row["reason"])
    if rows:
        console.print(table)


def by_two(settings: Settings, act: str, *, people: tuple[str, str], reason: str, assessment: Path | None = None) -> Service:
    """``act``: release, promote or resume, by two people of the node. Raises Rejected where that is not possible."""
    default, limits = _default(settings), orders.limits(settings.node.folder)
    does: dict[str, Callable[..., Service]] = {
        "release": service.release,
        "promote": service.promote,
        "resume": service.resume,
    }

    def work(db: sa.Connection) -> Service:
        first, second = (_person(db, login) for login in people)
        found, told = service.current(db, default), reason
        if act in ASSESSED:
            model = found.candidate if act == "promote" else found.model
            told = f"{acceptance.facts(_read(assessment), model=model, limits=limits)} {reason}"
        return does[act](db, actor=first, second=second, reason=told, default_model=default)

    return _done(settings, work)


def by_one(settings: Settings, act: str, *, person: str, reason: str) -> Service:
    """``act``: stop or back, by one person of the node. Raises Rejected where that is not possible."""
    default = _default(settings)
    does: dict[str, Callable[..., Service]] = {"stop": service.stop, "back": service.back}
    return _done(settings, lambda db: does[act](db, actor=_person(db, person), reason=reason, default_model=default))


def try_beside(settings: Settings, name: str, *, person: str, reason: str) -> Service:
    """A model that is installed and verifies reads beside the present one from now on. Raises OperatorNeeded, Rejected."""
    candidate, default = title_of(name), _default(settings)
    return _done(
        settings,
        lambda db: service.propose(db, candidate, actor=_person(db, person), reason=reason, default_model=default),
    )


def set_limits(settings: Settings, *, limits: tuple[float, float] | None, person: str, reason: str) -> Service:
    """The site's own limits of the categories; None: those of the model. Raises Rejected."""
    default, allowed = _default(settings), orders.limits(settings.node.folder)
    low, high = limits or (None, None)

    def work(db: sa.Connection) -> Service:
        who = _person(db, person)
        return service.set_limits(
            db, actor=who, no_sign_below=low, sign_from=high, allowed=allowed, reason=reason, default_model=default
        )

    return _done(settings, work)


def _default(settings: Settings) -> str:
    """Name and version of the settings' model; empty where it does not verify, which must not keep anyone from stopping it."""
    try:
        return title_of(settings.node.model)
    except OperatorNeeded:
        return ""


def _person(db: sa.Connection, login: str) -> str:
    """The login name of an account that is not shut; any name on a node without accounts. Raises Rejected."""
    everyone = accounts.everyone(db)
    if not everyone:
        return login
    for row in everyone:
        if row["login"].casefold() == login.casefold() and not row["disabled"]:
            return str(row["login"])
    raise Rejected(f"There is no account {login} that is open; needed are people of this node.", code="account-unknown")


def _read(assessment: Path | None) -> bytes:
    if assessment is None:
        return b""
    try:
        return assessment.read_bytes()
    except OSError as fault:
        raise InputNotFound("The assessment cannot be read; needed is assessment.json of `pneumoscope evaluate`.") from fault


def _done(settings: Settings, work: Callable[[sa.Connection], Service]) -> Service:
    database = Database(settings.database_url)
    try:
        with database.begin() as db:
            found = work(db)
            # whoever may write the database can name anyone
            audit.record(db, action="service", actor=ACTOR, detail=f"That was entered here: {found.act}.")
            return found
    finally:
        database.close()


def _looked(
    settings: Settings, work: Callable[[sa.Connection], tuple[Service, list[sa.RowMapping]]]
) -> tuple[Service, list[sa.RowMapping]]:
    database = Database(settings.database_url)
    try:
        with database.look() as db:
            return work(db)
    finally:
        database.close()
