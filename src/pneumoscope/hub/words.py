"""What the hub's pages say of alarms, states and wishes, in words."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from markupsafe import Markup

from pneumoscope.fleet import alarms
from pneumoscope.fleet.messages import Alarm
from pneumoscope.store.site_alarms import WINDOW_CHANGED, WINDOW_OVERLAPS
from pneumoscope.store.stops import Heed

MODES = {"live": "in service", "shadow": "in shadow", "stopped": "stopped", "": "not heard yet"}
TOLD = {
    "": "no answer yet",
    "fetching": "fetching",
    "refused": "refused",
    "shadow": "in shadow",
    "waits": "waits for two people of the site",
    "live": "in service",
    "back": "back",
    "stopped": "stopped",
}
WISHES = {"": "nothing yet", "shadow": "run in shadow", "live": "put in service", "back": "go back"}
HEEDS = {
    Heed.SERVES: "in service still",
    Heed.UNHEARD: "in service, not heard since",
    Heed.SHADOW: "reads in shadow, shows nothing",
    Heed.TRIES: "tried beside another",
    Heed.STOPPED: "stopped",
}


def alarm_words(row: sa.RowMapping) -> str:
    """Why a site is in trouble: what was found, since when, and against which limit."""
    if row["kind"] == WINDOW_CHANGED:
        return "A window came again with other content; what came first is kept."
    if row["kind"] == WINDOW_OVERLAPS:
        return "A window begins before another one ended; it is not taken, so that no study counts twice."
    facts = {name: row[name] for name in ("kind", "subject", "since", "value", "limit")}
    return alarms.words(Alarm(**facts))


def why_of(row: sa.RowMapping) -> list[str]:
    """What is wrong at a site beside its alarms, as it said last."""
    faults = (row["health"] or {}).get("faults", ())
    found = [] if row["ready"] or not faults else [f"The node is not ready: {', '.join(faults)}."]
    return found + ([f"{row['model'] or 'The model'} is out of service there."] if row["mode"] == "stopped" else [])


def state_of(row: sa.RowMapping, *, moment: datetime, silent_after: timedelta) -> tuple[str, str]:
    """A site's state as a class of ``page.css`` and in words."""
    if row["shut_at"]:
        return "stopped", "shut out"
    if not row["joined_at"]:
        return "waiting", "invited"
    if row["heard_at"] is None:
        return "waiting", "joined, not heard yet"
    if moment - row["heard_at"] > silent_after:
        return "stopped", "silent"
    if not row["ready"]:
        return "failed", "not ready"
    return {"live": "ready", "shadow": "reading", "stopped": "stopped"}.get(row["mode"], ""), MODES.get(
        row["mode"], row["mode"]
    )


def waiting_words(number: int | None) -> str:
    """A count that a site may hide."""
    return "<5" if number is None else str(number)


def ago(then: datetime | None, *, moment: datetime) -> Markup:
    """How long ago a site was heard, with the moment itself where a pointer rests."""
    if then is None:
        return Markup("never")
    minutes = (moment - then).total_seconds() / 60
    sizes = ((2, "just now"), (120, f"{minutes:.0f} min ago"), (2880, f"{minutes / 60:.0f} h ago"))
    told = next((text for limit, text in sizes if minutes < limit), f"{minutes / 1440:.0f} days ago")
    return Markup('<time datetime="{0:%Y-%m-%dT%H:%M:%SZ}" title="{0:%Y-%m-%d %H:%M} UTC">{1}</time>').format(then, told)
