"""Tries to log in, counted by what they have in common, and refused where too many failed.

A try counts as failed before the password is looked at, so that many at once gain nothing; one that succeeds is taken back.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pneumoscope.store import now
from pneumoscope.store.people_schema import attempt


def key(kind: str, value: str) -> str:
    """What tries are counted by, such as an account or an address."""
    return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()


def account_key(login: str) -> str:
    """What tries for an account are counted by, whether there is one or not."""
    return key("account", login.casefold())


def keys_of(account: sa.RowMapping) -> tuple[str, str]:
    """What may lock an account: tries to log in, and tries of its own password by who is logged in."""
    return account_key(account["login"]), key("own", account["id"])


def enter(db: sa.Connection, limits: Mapping[str, int], *, pause: timedelta) -> bool:
    """Count a try under each key; False, and nothing is counted, where one of them has its limit already."""
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    quiet = attempt.c.last_at < now() - pause
    more = {"failures": sa.case((quiet, 1), else_=attempt.c.failures + 1), "last_at": now()}
    with db.begin_nested() as counted:
        for name in sorted(limits):  # in one order, so that two who try at once wait for one another and no longer
            row = insert(attempt).values(key=name, failures=1, last_at=now())
            row = row.on_conflict_do_update(index_elements=[attempt.c.key], set_=more)
            if db.execute(row.returning(attempt.c.failures)).scalar_one() > limits[name]:
                counted.rollback()
                return False
    return True


def forget(db: sa.Connection, *keys: str) -> None:
    """Nothing has failed there."""
    db.execute(attempt.delete().where(attempt.c.key.in_(keys)))


def take_back(db: sa.Connection, name: str) -> None:
    """One try did not fail after all; the others remain."""
    db.execute(attempt.update().where(attempt.c.key == name).values(failures=attempt.c.failures - 1))


def is_locked(db: sa.Connection, name: str, *, limit: int, pause: timedelta) -> bool:
    """Whether tries under a key are refused now."""
    query = sa.select(attempt.c.failures).where(attempt.c.key == name, attempt.c.last_at >= now() - pause)
    return (db.execute(query).scalar() or 0) >= limit


def sweep(db: sa.Connection, *, pause: timedelta) -> None:
    """Forget what has been quiet for long enough."""
    db.execute(attempt.delete().where(attempt.c.last_at < now() - pause))
