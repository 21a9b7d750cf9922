"""What the hub measures of its fleet, as Prometheus reads it: numbers of sites, of which none is named."""

from collections import Counter as Counted
from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pneumoscope import __version__
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.metrics import gauge
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import Database, now, rollouts, stops
from pneumoscope.store.fleet_schema import alarm
from pneumoscope.store.hub_schema import site

REPORTS = Counter("pneumoscope_hub_reports_total", "Reports of sites: taken, or the code of why not.", ["outcome"])
#: Sites are counted that were heard in so many minutes.
WITHIN_MIN = (2, 5, 60, 1440)
#: Of sites by how long ago they were heard.
QUANTILES = (0.5, 0.9, 0.99, 1.0)
MODES = ("live", "shadow", "stopped", "unheard")
router = APIRouter()


@router.get("/metrics", dependencies=[needs(Right.MEASURE)])
def metrics(desk: AtDesk) -> Response:
    """Prometheus text."""
    looked_up = CollectorRegistry()
    looked_up.register(_Fleet(desk.store.database))
    return Response(generate_latest(REGISTRY) + generate_latest(looked_up), media_type=CONTENT_TYPE_LATEST)


class _Fleet(Collector):
    """Gauges that are looked up when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        return []  # else the registry would ask for them once more

    def collect(self) -> Iterator[Metric]:
        with self._database.look() as db:
            yield from _sites(db, moment=now())
            yield from _models(db)
            query = sa.select(alarm.c.kind, sa.func.count()).where(alarm.c.ended_at.is_(None), alarm.c.site != "")
            kinds = {(kind,): number for kind, number in db.execute(query.group_by(alarm.c.kind))}
            yield gauge("pneumoscope_hub_alarms", "Alarms that have not ended, by kind.", ["kind"], kinds)
        yield gauge("pneumoscope_build_info", "The software.", ["version"], {(__version__,): 1})


def _sites(db: sa.Connection, *, moment: datetime) -> Iterator[Metric]:
    columns = (site.c.joined_at, site.c.shut_at, site.c.heard_at, site.c.mode, site.c.ready)
    rows = db.execute(sa.select(*columns)).mappings().all()
    members = [row for row in rows if row["joined_at"] and not row["shut_at"]]
    states = Counted({(state,): 0 for state in (*MODES, "invited", "shut-out")})
    states.update((_state(row),) for row in rows)
    text = "Sites: members by the mode of their model as they said last, those invited, and those shut out."
    yield gauge("pneumoscope_hub_sites", text, ["state"], states)
    text = "Members whose node said last that it is not ready."
    yield GaugeMetricFamily("pneumoscope_hub_sites_not_ready", text, value=sum(row["ready"] is False for row in members))
    ages_s = sorted((moment - row["heard_at"]).total_seconds() for row in members if row["heard_at"])
    heard = {(str(limit),): sum(age_s <= 60 * limit for age_s in ages_s) for limit in WITHIN_MIN}
    yield gauge("pneumoscope_hub_sites_heard", "Members that were heard in the last minutes.", ["minutes"], heard)
    found = {(f"{share:g}",): ages_s[min(int(share * len(ages_s)), len(ages_s) - 1)] for share in QUANTILES if ages_s}
    text = "Seconds since members were last heard, by quantile of those that ever were."
    yield gauge("pneumoscope_hub_report_age_seconds", text, ["quantile"], found)


def _state(row: sa.RowMapping) -> str:
    if row["shut_at"]:
        return "shut-out"
    return (row["mode"] or "unheard") if row["joined_at"] else "invited"


def _models(db: sa.Connection) -> Iterator[Metric]:
    everything = rollouts.everything(db)
    counted = Counted((row["state"],) for row in everything)
    states = {(str(state),): counted[str(state),] for state in rollouts.State}
    yield gauge("pneumoscope_hub_rollouts", "Roll-outs, by state.", ["state"], states)
    active = [row for row in everything if row["state"] in (rollouts.State.RUNNING, rollouts.State.PAUSED)]
    stages = {(row["model"], row["phase"]): row["stage"] + 1 for row in active}
    text = "Stage of a roll-out that is not over, from 1 on."
    yield gauge("pneumoscope_hub_rollout_stage", text, ["model", "phase"], stages)
    told: Counted[tuple[str, str]] = Counted()
    for row in active:
        for (_, wish, said), number in rollouts.progress(db, row["id"]).items():
            told[row["model"], (said or "no-answer") if wish else "not-asked"] += number
    text = "Sites of a roll-out that is not over, by what they said of it."
    yield gauge("pneumoscope_hub_rollout_sites", text, ["model", "told"], told)
    heeds = {(row["model"], heed.value): number for row in stops.standing(db) for heed, number in stops.counts(db, row).items()}
    text = "Sites that have, or try, a model that is to be stopped everywhere, by how far they are."
    yield gauge("pneumoscope_hub_stop_sites", text, ["model", "heed"], heeds)
