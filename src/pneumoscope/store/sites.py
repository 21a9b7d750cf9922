"""The sites of a hub's fleet: invited, joined, shut out, and what each said last."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pneumoscope.errors import Rejected
from pneumoscope.store import now
from pneumoscope.store.hub_schema import invitation, site

_NAMED = 10  # sites that a message names


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A site as its certificate says."""

    site: str
    serial: str


def find(db: sa.Connection, wanted: str) -> sa.RowMapping:
    """A site by its id or its title. Raises Rejected."""
    row = db.execute(sa.select(site).where(sa.or_(site.c.id == wanted, site.c.title == wanted))).mappings().first()
    if row is None:
        titles = db.execute(sa.select(site.c.title).order_by(site.c.title).limit(_NAMED + 1)).scalars().all()
        known = ", ".join(titles[:_NAMED]) + (" and more" if len(titles) > _NAMED else "") if titles else "none yet"
        raise Rejected(f"There is no site {wanted!r} in this fleet; there are: {known}.", code="site-unknown")
    return row


def get(db: sa.Connection, site_id: str) -> sa.RowMapping | None:
    """A site."""
    return db.execute(sa.select(site).where(site.c.id == site_id)).mappings().first()


def digest(secret: str) -> str:
    """What of a token's secret is kept; it is random and long, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def invite(db: sa.Connection, *, title: str, province: str, secret: str, until: datetime) -> str:
    """A new site, and a token for it; its id. Raises Rejected where the title is taken."""
    if db.execute(sa.select(site.c.id).where(site.c.title == title)).first():
        raise Rejected(f"There is a site {title!r} already; --again {title!r} makes another token for it.", code="site-taken")
    site_id = str(uuid.uuid4())
    db.execute(site.insert().values(id=site_id, title=title, province=province, invited_at=now()))
    _give_token(db, site_id, secret=secret, until=until)
    return site_id


def invite_again(db: sa.Connection, wanted: str, *, secret: str, until: datetime) -> str:
    """Another token for a site, in place of any that is not used; its id. Raises Rejected."""
    site_id: str = find(db, wanted)["id"]
    db.execute(invitation.delete().where(invitation.c.site == site_id, invitation.c.used_at.is_(None)))
    _give_token(db, site_id, secret=secret, until=until)
    return site_id


def _give_token(db: sa.Connection, site_id: str, *, secret: str, until: datetime) -> None:
    db.execute(invitation.insert().values(digest=digest(secret), site=site_id, made_at=now(), until=until))


def use_token(db: sa.Connection, secret: str) -> sa.RowMapping:
    """The site that a token is for; it can be used no more. Raises Rejected."""
    row = db.execute(sa.select(invitation).where(invitation.c.digest == digest(secret))).mappings().first()
    if row is None:
        raise Rejected("This hub gave out no such token, or it was replaced by another.", code="token-unknown")
    if row["used_at"] is not None:
        raise Rejected("The token was used already; each lets one node join once.", code="token-used")
    if row["until"] < now():
        raise Rejected(f"The token held until {row['until']:%Y-%m-%d %H:%M} UTC; ask for another.", code="token-expired")
    unused = sa.and_(invitation.c.digest == row["digest"], invitation.c.used_at.is_(None))
    if db.execute(invitation.update().where(unused).values(used_at=now())).rowcount != 1:
        raise Rejected("The token was used already; each lets one node join once.", code="token-used")
    return find(db, row["site"])


def joined(db: sa.Connection, site_id: str, *, serial: str, until: datetime) -> None:
    """A site has its first certificate, or a new one in place of all others, and is let in again where it was shut out."""
    values = {"serial": serial, "next_serial": "", "certificate_until": until, "shut_at": None}
    db.execute(site.update().where(site.c.id == site_id).values(joined_at=now(), **values))


def renewed(db: sa.Connection, site_id: str, *, serial: str, until: datetime) -> None:
    """A site was given another certificate; the old one holds until this is shown, since the answer may be lost."""
    db.execute(site.update().where(site.c.id == site_id).values(next_serial=serial, certificate_until=until))


def shut(db: sa.Connection, site_id: str) -> None:
    """Listen to a site no more."""
    values = {"serial": "", "next_serial": "", "shut_at": now()}
    db.execute(site.update().where(site.c.id == site_id).values(**values))


def known(db: sa.Connection, callers: Sequence[Caller]) -> dict[Caller, sa.RowMapping]:
    """Rows of those whose certificate is the one on record; of two of one site, each for itself."""
    found = db.execute(sa.select(site).where(site.c.id.in_({caller.site for caller in callers}))).mappings()
    rows = {row["id"]: row for row in found}
    serials = {site_id: {row["serial"], row["next_serial"]} - {""} for site_id, row in rows.items()}
    return {caller: rows[caller.site] for caller in callers if caller.serial in serials.get(caller.site, ())}


def check(db: sa.Connection, caller: Caller) -> sa.RowMapping:
    """The row of a caller. Raises Rejected."""
    row = known(db, [caller]).get(caller)
    if row is None:
        raise unknown()
    return row


def unknown() -> Rejected:
    """The fault of a caller whose certificate is verified and not, or no more, on record."""
    told = "This hub does not know the certificate: it was replaced, or the site was shut out. Join again."
    return Rejected(told, code="site-unknown")


def heard(db: sa.Connection, said: Iterable[dict[str, Any]]) -> None:
    """Keep what sites said last; each of ``said`` has ``id_`` and every other column that is set."""
    values = list(said)
    if values:
        names = [name for name in values[0] if name != "id_"]
        given: dict[str, Any] = {name: sa.bindparam(name) for name in names}
        db.execute(site.update().where(site.c.id == sa.bindparam("id_")).values(given), values)


def members(db: sa.Connection) -> list[str]:
    """Ids of the sites that have joined and are not shut out."""
    return list(db.execute(sa.select(site.c.id).where(site.c.joined_at.is_not(None), site.c.shut_at.is_(None))).scalars())
