"""Which model serves, for the banner of every page and for the page about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.fleet import orders
from pneumoscope.fleet.messages import Mode, Stop
from pneumoscope.records import Judgement
from pneumoscope.server.desk import desk_of
from pneumoscope.server.journal import visitor_of
from pneumoscope.store import observations, readings, reviews, service, verdicts
from pneumoscope.store.service import Service


@dataclass(frozen=True, kw_only=True)
class Banner:
    """What every page says of a model that is not live, or that the hub wants stopped.

    ``at``, ``by``, ``reason``: of the stop, where it was stopped; ``model`` and ``reason``: of the hub's wish.
    """

    mode: Mode
    at: datetime | None = None
    by: str = ""
    model: str = ""
    reason: str = ""


def current(db: sa.Connection) -> Service:
    """What holds; the model of the settings goes by the name that its last reading bears."""
    return service.current(db, readings.last_model(db))


def banner(request: Request) -> Banner | None:
    """None while the model in service is live and the hub does not want it stopped, and for those who are nobody here."""
    if not visitor_of(request).rights:
        return None
    try:
        with desk_of(request).store.database.look() as db:
            found = service.current(db, "")
            if found.is_live:
                return _wished(request, db)
            row = service.last(db, "stop") if found.mode is Mode.STOPPED else None
    except SQLAlchemyError:  # the page itself says so, if it needs the database
        return None
    return Banner(mode=found.mode, at=row["at"], by=row["actor"], reason=row["reason"]) if row else Banner(mode=found.mode)


def _wished(request: Request, db: sa.Connection) -> Banner | None:
    stops = orders.stops(desk_of(request).settings.node.folder)
    if not stops:
        return None
    found = current(db)
    wanted = [stop for stop in wishes(stops, found) if stop.model == found.model]
    return Banner(mode=Mode.LIVE, model=wanted[0].model, reason=wanted[0].reason) if wanted else None


def wishes(stops: Sequence[Stop], found: Service) -> list[Stop]:
    """Those of the hub's stops that people here may still follow: of a model that serves, or is tried."""
    here = {found.candidate} if found.mode is Mode.STOPPED else {found.candidate, found.model}
    return [stop for stop in stops if stop.model in here]


def comparison(db: sa.Connection, found: Service) -> dict[str, Any] | None:
    """The candidate beside the present model, on the studies that both have read; None without a candidate."""
    if not found.candidate:
        return None
    both = observations.pairs(db, candidate=found.candidate, present=found.model)
    differences = [pair.score_difference for pair in both if pair.score_difference is not None]
    return {
        "n": len(both),
        "same": sum(pair.present == pair.candidate for pair in both),
        "mean": sum(differences) / len(differences) if differences else None,
    }


def agreement(db: sa.Connection, models: Sequence[str]) -> list[dict[str, Any]]:
    """For each model: answers to its readings that accept them, and blind verdicts that say what it said."""
    rows = []
    for model in filter(None, models):
        answers = [row["judgement"] for row in reviews.all_of(db, model=model)]
        blind = verdicts.beside(db, model)
        rows.append(
            {
                "model": model,
                "answers": len(answers),
                "accepted": answers.count(Judgement.ACCEPT),
                "verdicts": len(blind),
                "agreed": sum(one.said == one.model_said for one in blind),
            }
        )
    return rows
