"""Pages of models on offer and roll-outs, and what administrators do there."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.hub import moving, steering, words
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import rollouts, stops

router = APIRouter(dependencies=[needs(Right.ACCOUNT, Right.MEASURE)])
PAGE = 50
Reason = Annotated[str, Form(max_length=400)]


@dataclass
class Stage:
    """A stage as its page shows it."""

    title: str
    sites: int = 0
    told: Counter[str] = field(default_factory=Counter)
    wishes: Counter[str] = field(default_factory=Counter)


@router.get("/rollouts")
def show_all(request: Request, desk: AtDesk) -> Response:
    """Models on offer, and all roll-outs."""
    with desk.store.database.look() as db:
        offers, everything = rollouts.offers(db), rollouts.everything(db)
        stopped, known = stops.everything(db), stops.stoppable(db)
    return page(request, "rollouts.html", offers=offers, rollouts=everything, stops=stopped, known=known)


@router.post("/rollouts", dependencies=[needs(Right.MANAGE)])
def begin(
    request: Request,
    desk: AtDesk,
    model: Annotated[str, Form(max_length=140)],
    canaries: Annotated[str, Form(max_length=4000)] = "",
    shares: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Begin one; ``canaries``: titles or ids, one a line; ``shares``: in per cent, with spaces between."""
    try:
        parts = [float(word.rstrip("%")) / 100 for word in shares.split()]
    except ValueError:
        raise Problem(400, "shares-wrong", "Shares are per cent of all sites, such as 10 50.") from None
    chosen = [line.strip() for line in canaries.splitlines() if line.strip()]
    with desk.store.database.begin() as db:
        actor = visitor_of(request).actor
        rollout_id = steering.roll_out(db, model, canaries=chosen, shares=parts, actor=actor)
    return RedirectResponse(f"/rollouts/{rollout_id}", 303)


@router.get("/rollouts/{rollout_id}")
def show(request: Request, desk: AtDesk, rollout_id: str, at: Annotated[int, Query(ge=1, le=10_000)] = 1) -> Response:
    """Stages, the gate of the present one, sites, and what was done."""
    with desk.store.database.look() as db:
        row = _rollout(db, rollout_id)
        stages = _stages(row, rollouts.progress(db, rollout_id))
        active = row["state"] in (rollouts.State.RUNNING, rollouts.State.PAUSED)
        findings = moving.look(db, row, moving.rules_of(desk.settings.hub)) if active else ()
        sites = rollouts.sites_of(db, rollout_id, limit=PAGE, offset=(at - 1) * PAGE)
        acts = rollouts.acts(db, rollout_id)
    return page(
        request,
        "rollout.html",
        rollout=row,
        stages=stages,
        findings=findings,
        sites=sites,
        acts=acts,
        at=at,
        pages=-(-sum(stage.sites for stage in stages) // PAGE),
        told_words=words.TOLD,
        wish_words=words.WISHES,
    )


@router.post("/rollouts/{rollout_id}/pause", dependencies=[needs(Right.MANAGE)])
def pause(request: Request, desk: AtDesk, rollout_id: str, reason: Reason = "") -> Response:
    """Let it move no further."""
    with desk.store.database.begin() as db:
        steering.pause(db, _rollout(db, rollout_id), actor=visitor_of(request).actor, reason=reason)
    return _to(rollout_id)


@router.post("/rollouts/{rollout_id}/resume", dependencies=[needs(Right.MANAGE)])
def resume(request: Request, desk: AtDesk, rollout_id: str, reason: Reason = "") -> Response:
    """Let it go on."""
    with desk.store.database.begin() as db:
        row = _rollout(db, rollout_id)
        steering.resume(db, row, desk.settings.hub, actor=visitor_of(request).actor, reason=reason)
    return _to(rollout_id)


@router.post("/rollouts/{rollout_id}/back", dependencies=[needs(Right.MANAGE)])
def back(
    request: Request, desk: AtDesk, rollout_id: str, site: Annotated[str, Form(max_length=80)] = "", reason: Reason = ""
) -> Response:
    """Have all sites return to what they ran before, or one."""
    with desk.store.database.begin() as db:
        row, actor = _rollout(db, rollout_id), visitor_of(request).actor
        if site:
            steering.back_site(db, row, site, actor=actor, reason=reason)
        else:
            steering.back(db, row, actor=actor, reason=reason)
    return _to(rollout_id)


def _rollout(db: sa.Connection, rollout_id: str) -> sa.RowMapping:
    row = rollouts.get(db, rollout_id)
    if row is None:
        raise Problem(404, "no-such-rollout", "There is no such roll-out.")
    return row


def _stages(row: sa.RowMapping, progress: dict[tuple[int, str, str], int]) -> list[Stage]:
    titles = ["canaries", *(f"until {100 * share:g} % of sites" for share in row["shares"][:-1]), "all others"]
    stages = [Stage(title=title) for title in titles]
    for (number, wish, told), sites in progress.items():
        stages[number].sites += sites
        stages[number].wishes[wish] += sites
        stages[number].told[told if wish else ""] += sites
    return stages


def _to(rollout_id: str) -> Response:
    return RedirectResponse(f"/rollouts/{rollout_id}", 303)
