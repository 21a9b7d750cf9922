"""Letting sites in and shutting them out."""

import secrets
from datetime import timedelta

from pneumoscope.config import Hub, Settings
from pneumoscope.errors import Rejected
from pneumoscope.fleet.token import Token
from pneumoscope.hub.addresses import join_url
from pneumoscope.hub.authority import Authority
from pneumoscope.hub.prepare import open_authority, prepare
from pneumoscope.store import Store, audit, now, sites

_LONGEST = 80


def make_token(  # noqa: PLR0913 - each is told on the command line or a page
    authority: Authority, store: Store, hub: Hub, *, title: str = "", province: str = "", again: str = "", actor: str
) -> str:
    """A token for a new site, or ``again`` for one that is known. Raises Rejected."""
    for name in (title, province):
        if len(name) > _LONGEST or not (again or name.strip()) or not (not name or name.isprintable()):
            raise Rejected(f"Titles and provinces have 1 to {_LONGEST} characters, all of them printable.", code="site-wrong")
    secret = secrets.token_urlsafe(32)
    until = now() + timedelta(hours=hub.invitation_hours)
    with store.database.begin() as db:
        if again:
            site_id = sites.invite_again(db, again, secret=secret, until=until)
        else:
            site_id = sites.invite(db, title=title.strip(), province=province.strip(), secret=secret, until=until)
        audit.record(db, action="fleet", actor=actor, detail=f"{sites.find(db, site_id)['title']} was invited.")
    return Token(secret=secret, join_url=join_url(hub), authority_sha256=authority.sha256).written()


def invite(settings: Settings, *, title: str = "", province: str = "", again: str = "", actor: str) -> str:
    """As ``make_token``, beside a hub that may be running. Raises Rejected."""
    store, authority = prepare(settings), open_authority(settings)
    try:
        return make_token(authority, store, settings.hub, title=title, province=province, again=again, actor=actor)
    finally:
        store.database.close()


def shut_out(settings: Settings, wanted: str, *, actor: str) -> str:
    """Refuse a site's certificates from now on; its title. Raises Rejected."""
    store = prepare(settings)
    with store.database.begin() as db:
        row = sites.find(db, wanted)
        sites.shut(db, row["id"])
        audit.record(db, action="fleet", actor=actor, detail=f"{row['title']} was shut out.")
    store.database.close()
    return str(row["title"])
