"""Accounts from the command line, for those who may write the node's database: nobody is locked out for ever."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pneumoscope.config import Role, Settings
from pneumoscope.errors import Rejected
from pneumoscope.store import Database, accounts, attempts, audit, passwords, sessions

ACTOR = "command line"


def add(settings: Settings, login: str, *, name: str, roles: Sequence[Role]) -> str:
    """A new account; returns its first password. Raises Rejected where the name is taken or cannot be."""
    if not accounts.LOGIN.fullmatch(login):
        raise Rejected("A login name has letters, digits and . _ @ -, and is at most 40 long.", code="login-wrong")
    password = passwords.make()
    kept = passwords.hashed(password)
    database = Database(settings.database_url)
    try:
        with database.begin() as db:
            if accounts.add(db, login=login, name=name, roles=roles, password_hash=kept) is None:
                raise Rejected(f"There is an account {login} already.", code="account-taken")
            audit.record(db, action="people", actor=ACTOR, detail=f"{login} was added: {', '.join(roles)}.")
    finally:
        database.close()
    return password


def reset(settings: Settings, login: str, *, roles: Sequence[Role]) -> str:
    """Another first password, and ``roles`` where any are given; opens and unlocks the account, and ends its sessions."""
    password = passwords.make()
    kept = passwords.hashed(password)
    database = Database(settings.database_url)
    try:
        with database.begin() as db:
            row = accounts.find(db, subject=login)
            if row is None:
                raise Rejected(f"There is no account {login}.", code="account-unknown")
            accounts.set_password(db, row["id"], kept, must_change=True)
            accounts.set_disabled(db, row["id"], False)
            sessions.end_all(db, row["id"])
            attempts.forget(db, *attempts.keys_of(row))
            if roles:
                accounts.set_roles(db, row["id"], roles)
            told = f" and is now: {', '.join(roles)}" if roles else ""
            audit.record(db, action="people", actor=ACTOR, detail=f"{row['login']} was given a new first password{told}.")
    finally:
        database.close()
    return password


def print_everyone(settings: Settings) -> None:
    """A table of who may log in, and as what."""
    database = Database(settings.database_url)
    try:
        with database.look() as db:
            everyone = accounts.everyone(db)
    finally:
        database.close()
    table = Table("login", "name", "roles", "by", "last login", box=None)
    for row in everyone:
        by = "OpenID Connect" if row["issuer"] else "password"
        last = f"{row['last_login_at']:%Y-%m-%d %H:%M} UTC" if row["last_login_at"] else "never"
        table.add_row(row["login"], row["name"], ", ".join(row["roles"]), "shut" if row["disabled"] else by, last)
    Console(highlight=False, markup=False).print(table)
