"""Reading for other hospitals: what the hub is told of it, and what follows from its answer."""

import re
from datetime import timedelta

import sqlalchemy as sa
import structlog

from pneumoscope.config import Settings
from pneumoscope.errors import Rejected
from pneumoscope.fleet import sealing
from pneumoscope.fleet.pool_messages import Assigned, Outcome, Pool, PoolOrders, Sealed, Urgency
from pneumoscope.member.membership import Membership, load_key
from pneumoscope.store import Store, pool
from pneumoscope.store.pool import NODE

_LINK = re.compile(r"https?://[^\s/?#]+/guest/[0-9a-f-]{36}\?secret=[A-Za-z0-9_-]{20,100}")
#: So many studies are offered at once by the rule.
_MOST_AT_ONCE = 5
log = structlog.get_logger()


class Pooling:
    """Does nothing where the settings do not share readings."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store

    def told(self, place: Membership) -> Pool | None:
        """What goes into the next report."""
        if not self._settings.fleet.share_readings:
            return None
        certificate = (place.folder / "certificate.pem").read_text()
        with self._store.database.begin() as db:
            pool.expire(db)
            self._offer_by_rule(db)
            return pool.told(db, certificate)

    def _offer_by_rule(self, db: sa.Connection) -> None:
        """With too many studies waiting for an answer, offer the oldest."""
        fleet = self._settings.fleet
        if not fleet.offer_above or not fleet.pages_url:
            return
        waiting = pool.unanswered(db)
        for found in waiting[: min(_MOST_AT_ONCE, max(0, len(waiting) - fleet.offer_above))]:
            longest = timedelta(seconds=fleet.offer_for_s)
            pool.offer(db, found.StudyInstanceUID, urgency=Urgency.ROUTINE, images=found.images, longest=longest, who=NODE)

    def heard(self, place: Membership, orders: PoolOrders | None) -> None:
        """Invite whoever took a study of ours; keep what became of those that we took."""
        if orders is None or not self._settings.fleet.share_readings:
            return
        authority = (place.folder / "authority.pem").read_text()
        mine = load_key(place.folder)

        def unseal(sealed: Sealed) -> str:
            try:
                link = sealing.unseal(sealed, by=mine)
            except Rejected as fault:
                log.warning("An invitation cannot be opened", code=fault.code, task=sealed.id)
                return ""
            return link if _LINK.fullmatch(link) else ""

        with self._store.database.begin() as db:
            for assigned in orders.assigned:
                self._invite(db, assigned, authority)
            pool.hear(db, orders, unseal)

    def _invite(self, db: sa.Connection, assigned: Assigned, authority: str) -> None:
        try:
            key = sealing.key_of(assigned.certificate, authority_pem=authority, site=assigned.taker)
        except Rejected as fault:
            log.warning("A study is not given to who took it", code=fault.code, task=assigned.id)
            pool.end(db, assigned.id, Outcome.WITHDRAWN, who=NODE)
            return

        def seal(secret: str) -> Sealed:
            link = f"{self._settings.fleet.pages_url}/guest/{assigned.id}?secret={secret}"
            return sealing.seal(link, to=key, task=assigned.id)

        pool.invite(db, assigned, seal)
