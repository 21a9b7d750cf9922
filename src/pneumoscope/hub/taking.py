"""Takes reports: many at once in one transaction, since a fleet reports all the time and each commit costs a flush."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio.to_thread
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from pneumoscope.errors import PneumoscopeError, RetryLater
from pneumoscope.fleet.messages import Orders, Policy, Report
from pneumoscope.store import Database, now, pool_tasks, rollouts, site_alarms, sites, stops, windows
from pneumoscope.store.site_alarms import WINDOW_CHANGED, WINDOW_OVERLAPS
from pneumoscope.store.sites import Caller
from pneumoscope.store.windows import Received

#: Reports of one transaction, and those that may wait for it.
MOST_AT_ONCE, MOST_WAITING = 250, 5000
Answer = Orders | PneumoscopeError
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Said:
    """A report and who made it."""

    caller: Caller
    report: Report


def take(db: sa.Connection, said: Sequence[Said], *, policy: Policy) -> list[Answer]:
    """Keep what reports say and answer each, in their order; who is not known is told so."""
    rows = sites.known(db, [one.caller for one in said])
    heard = [one for one in said if one.caller in rows]  # not those who show a certificate that was replaced
    # a site that calls twice at once has one row: the later report is what it said last
    latest = {one.caller.site: one for one in heard}
    last = {site: one.report for site, one in latest.items()}
    known = {site: rows[one.caller] for site, one in latest.items()}
    received = [
        Received(site=row["id"], province=row["province"], until=row["windows_until"], windows=one.report.windows)
        for one in heard
        for row in (rows[one.caller],)
    ]
    kept = windows.keep(db, received)
    site_alarms.not_taken(db, {WINDOW_CHANGED: kept.changed, WINDOW_OVERLAPS: kept.overlapping})
    site_alarms.told(db, {site: report.alarms for site, report in last.items()})
    until = {site: kept.until.get(site, row["windows_until"]) for site, row in known.items()}
    sites.heard(db, [_columns(known[site], one.caller.serial, one.report, until[site]) for site, one in latest.items()])
    wishes = rollouts.answered(db, last, {site: report.wish for site, report in last.items() if report.wish})
    pools = pool_tasks.exchange(db, {site: report.pool for site, report in last.items() if report.pool})
    moment, stopped = now(), stops.told(db)
    return [
        Orders(
            now=moment,
            site=row["id"],
            title=row["title"],
            province=row["province"],
            policy=policy,
            kept=tuple(sorted(set(kept.kept.get(row["id"], ())))),
            wish=wishes.get(row["id"]),
            stops=stopped,
            windows_until=until[row["id"]],
            pool=pools.get(row["id"]),
        )
        if (row := rows.get(one.caller)) is not None
        else sites.unknown()
        for one in said
    ]


def _columns(row: sa.RowMapping, serial: str, report: Report, until: datetime | None) -> dict[str, object]:
    """What a site's row holds of its last report; a renewed certificate that is shown takes the place of the old one."""
    renewed = serial == row["next_serial"]
    service, health = report.service, report.health
    return {
        "id_": row["id"],
        "serial": serial if renewed else row["serial"],
        "next_serial": "" if renewed else row["next_serial"],
        "heard_at": now(),
        "windows_until": until,
        "health": health.model_dump(mode="json"),
        "service": service.model_dump(mode="json"),
        "model": service.model,
        "mode": service.mode.value,
        "candidate": service.candidate,
        "ready": health.ready,
        "waiting": health.waiting,
        "software": health.software,
    }


class Taking:
    """Gathers reports while the last ones are being written."""

    def __init__(self, database: Database, policy: Policy) -> None:
        self._database, self._policy = database, policy
        self._waiting: list[tuple[Said, asyncio.Future[Answer]]] = []
        self._more = asyncio.Event()

    async def take(self, said: Said) -> Orders:
        """The answer to a report, once all of it is kept. Raises Rejected for callers not known, RetryLater."""
        if len(self._waiting) >= MOST_WAITING:
            raise RetryLater("Too many sites report at once; report again in a minute.", code="hub-busy")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((said, future))
        self._more.set()
        answer = await future
        if isinstance(answer, PneumoscopeError):
            raise answer
        return answer

    async def run(self) -> None:
        """Write, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                answers = await anyio.to_thread.run_sync(self._write, [said for said, _ in group])
                for (_, future), answer in zip(group, answers, strict=True):
                    if not future.done():  # its caller may be gone
                        future.set_result(answer)

    def _write(self, said: Sequence[Said]) -> list[Answer]:
        try:
            with self._database.begin() as db:
                return take(db, said, policy=self._policy)
        except (OperationalError, InterfaceError):
            return [RetryLater("The hub's database does not answer.", code="database-unreachable") for _ in said]
        except Exception:
            if len(said) > 1:
                return [answer for one in said for answer in self._write([one])]
            log.error("A report met a fault of ours", exc_info=True, site=said[0].caller.site)
            return [RetryLater("It failed by a fault of the hub; its log has the kind.", code="hub-failed")]
