"""People who may log in."""

import re
import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pneumoscope.store import now
from pneumoscope.store.people_schema import account, session

#: Names of local accounts.
LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}")


def add(  # noqa: PLR0913 - each is a column
    db: sa.Connection,
    *,
    login: str,
    name: str = "",
    roles: Iterable[str],
    password_hash: str = "",
    issuer: str = "",
    subject: str = "",
) -> str | None:
    """A new account, whose password must be changed at the first login; its id, None where the name is taken."""
    account_id = str(uuid.uuid4())
    values = {
        "id": account_id,
        "issuer": issuer,
        "subject": subject if issuer else login.casefold(),
        "login": login,
        "name": name,
        "password_hash": password_hash,
        "must_change": not issuer,
        "disabled": False,
        "roles": sorted(roles),
        "created_at": now(),
    }
    try:
        with db.begin_nested():
            db.execute(account.insert().values(values))
    except IntegrityError:
        return None
    return account_id


def is_taken(db: sa.Connection, login: str, *, issuer: str) -> bool:
    """Whether someone of a provider has a login already, in whatever case."""
    rows = db.execute(sa.select(account.c.login).where(account.c.issuer == issuer)).scalars()
    return login.casefold() in {row.casefold() for row in rows}


def get(db: sa.Connection, account_id: str, *, to_act: bool = False) -> sa.RowMapping | None:
    """An account; ``to_act``: as it stays until this transaction ends."""
    query = sa.select(account).where(account.c.id == account_id)
    return db.execute(query.with_for_update() if to_act else query).mappings().first()


def find(db: sa.Connection, *, subject: str, issuer: str = "") -> sa.RowMapping | None:
    """A local account by its login name in whatever case, or one of OpenID Connect."""
    wanted = subject if issuer else subject.casefold()
    return db.execute(sa.select(account).where(account.c.issuer == issuer, account.c.subject == wanted)).mappings().first()


def everyone(db: sa.Connection) -> list[sa.RowMapping]:
    """All accounts, by name."""
    return list(db.execute(sa.select(account).order_by(account.c.issuer, account.c.subject)).mappings())


def has_local(db: sa.Connection) -> bool:
    """Whether there is any account that is logged into by a password."""
    return db.execute(sa.select(account.c.id).where(account.c.issuer == "").limit(1)).first() is not None


def set_password(
    db: sa.Connection, account_id: str, password_hash: str, *, must_change: bool = False, instead_of: str | None = None
) -> bool:
    """Another password, in place of one of this hash where one is given; False where there is another by now."""
    which = account.update().where(account.c.id == account_id)
    if instead_of is not None:
        which = which.where(account.c.password_hash == instead_of)
    return db.execute(which.values(password_hash=password_hash, must_change=must_change)).rowcount == 1


def describe(db: sa.Connection, account_id: str, *, name: str, roles: Iterable[str]) -> None:
    """Set what a provider says of its account; its login stays, since answers and the trail are under it."""
    db.execute(account.update().where(account.c.id == account_id).values(name=name, roles=sorted(roles)))


def set_roles(db: sa.Connection, account_id: str, roles: Iterable[str]) -> None:
    """Other roles, which hold from the next request on."""
    db.execute(account.update().where(account.c.id == account_id).values(roles=sorted(roles)))


def set_disabled(db: sa.Connection, account_id: str, disabled: bool) -> None:
    """Shut an account out, with all its sessions, or let it in again."""
    db.execute(account.update().where(account.c.id == account_id).values(disabled=disabled))
    if disabled:
        db.execute(session.delete().where(session.c.account_id == account_id))


def note_login(db: sa.Connection, account_id: str) -> None:
    """Remember when someone last logged in."""
    db.execute(account.update().where(account.c.id == account_id).values(last_login_at=now()))


def holders(db: sa.Connection, role: str) -> set[str]:
    """Ids of the accounts that have a role and are not shut out; until the transaction ends nobody else changes those."""
    rows = db.execute(
        sa.select(account.c.id, account.c.roles).where(~account.c.disabled).order_by(account.c.id).with_for_update()
    )
    return {account_id for account_id, roles in rows if role in roles}
