"""What the hub's pages say of alarms, states and wishes, in words."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from markupsafe import Markup

from pneumoscope.fleet.messages import AlarmKind
from pneumoscope.store.site_alarms import WINDOW_CHANGED

_ALARMS = {
    AlarmKind.SCORE_DRIFT: "scores are not what they were when the model was released here",
    AlarmKind.INPUT_DRIFT: "studies look different from those before",
    AlarmKind.AGREEMENT: "readers agree with fewer readings than they should",
    AlarmKind.CALIBRATION: "scores do not mean what they say: blind verdicts differ from them",
    AlarmKind.FAILURES: "more readings fail than may",
    AlarmKind.REFUSALS: "more studies are refused than may be",
    AlarmKind.LATE: "results come too late",
    AlarmKind.SUBGROUP: "one part of the patients is read otherwise than the others",
    AlarmKind.STOP_RULE: "the site's stop rule took the model out of service",
    AlarmKind.BUNDLE_REFUSED: "the node refused a model that it was offered",
    AlarmKind.CERTIFICATE: "the certificate ends soon and is not renewed",
    AlarmKind.CLOCK: "the node's clock is wrong",
    AlarmKind.SILENT: "nothing is heard of it",
    WINDOW_CHANGED: "a window came again with other content; what came first is kept",
}
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
WISHES = {"": "nothing yet", "shadow": "run in shadow", "live": "put in service", "back": "go back", "stop": "stop"}


def alarm_words(row: sa.RowMapping) -> str:
    """Why a site is in trouble: what was found, where, and against which limit."""
    told = _ALARMS.get(row["kind"], row["kind"])
    subject = f" ({row['subject']})" if row["subject"] else ""
    numbers = f": {row['value']:.3g}, limit {row['limit']:.3g}" if row["limit"] else ""
    return f"{told}{subject}{numbers}"


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
