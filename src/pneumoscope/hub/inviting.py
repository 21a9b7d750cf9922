"""Letting sites in and shutting them out."""

import secrets
from datetime import timedelta

from pneumoscope.config import Settings
from pneumoscope.errors import Rejected
from pneumoscope.fleet.token import Token
from pneumoscope.hub.addresses import join_url
from pneumoscope.hub.prepare import open_authority, prepare
from pneumoscope.store import audit, now, sites

_LONGEST = 80


def invite(settings: Settings, *, title: str, province: str, again: str = "", actor: str) -> str:
    """A token for a new site, or ``again`` for one that is known. Raises Rejected."""
    for name in (title, province):
        if len(name) > _LONGEST or not (again or name.strip()) or not name.isprintable():
            raise Rejected(f"Titles and provinces have 1 to {_LONGEST} characters, all of them printable.", code="site-wrong")
    store, authority = prepare(settings), open_authority(settings)
    secret = secrets.token_urlsafe(32)
    until = now() + timedelta(hours=settings.hub.invitation_hours)
    with store.database.begin() as db:
        if again:
            site_id = sites.invite_again(db, again, secret=secret, until=until)
        else:
            site_id = sites.invite(db, title=title.strip(), province=province.strip(), secret=secret, until=until)
        audit.record(db, action="fleet", actor=actor, detail=f"{sites.find(db, site_id)['title']} was invited.")
    store.database.close()
    return Token(secret=secret, join_url=join_url(settings.hub), authority_sha256=authority.sha256).written()


def shut_out(settings: Settings, wanted: str, *, actor: str) -> str:
    """Refuse a site's certificates from now on; its title. Raises Rejected."""
    store = prepare(settings)
    with store.database.begin() as db:
        row = sites.find(db, wanted)
        sites.shut(db, row["id"])
        audit.record(db, action="fleet", actor=actor, detail=f"{row['title']} was shut out.")
    store.database.close()
    return str(row["title"])
