"""Moves roll-outs: each stage runs a model in shadow, then in service, and the next begins when its gate opens."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
import structlog

from pneumoscope.config import Hub, HubGate
from pneumoscope.errors import Rejected
from pneumoscope.fleet.gates import GRAVE, NOTABLE, Evidence, Finding, Rules, Standing, judge, outcome
from pneumoscope.fleet.messages import WishKind, WishStage
from pneumoscope.fleet.shares import Span
from pneumoscope.store import now, rollouts
from pneumoscope.store.rollouts import Phase, State

#: Who acts where no person does.
GATE = "the gate"
_THERE = {
    Phase.SHADOW: (WishStage.SHADOW, WishStage.WAITS, WishStage.LIVE),
    Phase.LIVE: (WishStage.LIVE,),
}
log = structlog.get_logger()


def stages_of(members: Sequence[str], *, canaries: Sequence[str], shares: Sequence[float], model: str) -> list[list[str]]:
    """Sites of each stage: the canaries, then so many that each share of all ``members`` is reached, in an order by chance."""
    rest = sorted(set(members) - set(canaries), key=lambda site: hashlib.sha256(f"{model}:{site}".encode()).digest())
    stages, taken = [list(canaries)], 0
    for share in shares:
        until = max(taken, round(share * len(members)) - len(canaries))
        stages.append(rest[taken:until])
        taken = min(until, len(rest))
    return stages


def check_shares(shares: Sequence[float]) -> list[float]:
    """Rising shares that end with all. Raises Rejected."""
    given = [*(share for share in shares if share != 1), 1.0]
    if any(not 0 < share <= 1 for share in given) or given != sorted(set(given)):
        raise Rejected("Shares are parts of all sites that rise, above 0 and at most 1, such as 0.1 0.5.", code="shares-wrong")
    return given


def rules_of(hub: Hub) -> Rules:
    """As the settings have them."""
    gate: HubGate = hub.gate
    return Rules(**gate.model_dump(), false_alarms_a_year=hub.policy.false_alarms_a_year)


def move(db: sa.Connection, rules: Rules) -> None:
    """Let each roll-out that runs take a step where its gate says so; sites that joined late are put into its last stage."""
    newest = True
    for row in rollouts.everything(db):
        if newest and row["state"] != State.BACK:
            _take_in_late(db, row)
        newest = False
        if row["state"] == State.RUNNING:
            _step(db, row, rules)


def look(db: sa.Connection, row: sa.RowMapping, rules: Rules) -> tuple[Finding, ...]:
    """How the gate of the present stage and phase stands."""
    return judge(gather(db, row), rules)


def gather(db: sa.Connection, row: sa.RowMapping) -> Evidence:
    """What the present stage has shown."""
    sums, phase = rollouts.evidence(db, row), Phase(row["phase"])
    here = {
        (wish, told): number
        for (stage, wish, told), number in rollouts.progress(db, row["id"]).items()
        if stage == row["stage"] and wish not in ("", WishKind.BACK)
    }

    def span(name: str) -> Span:
        return Span(least=sums[name], most=sums[f"{name}_most"])

    def told(*stages: WishStage) -> int:
        return sum(number for (_, stage), number in here.items() if stage in stages)

    return Evidence(
        live=phase is Phase.LIVE,
        hours=(now() - row["phase_since"]).total_seconds() / 3600,
        sites=sum(here.values()),
        there=told(*_THERE[phase]),
        refused=told(WishStage.REFUSED),
        waits_for_people=told(WishStage.WAITS) if phase is Phase.LIVE else 0,
        read=span("read"),
        failed=span("failed"),
        pairs=span("pairs"),
        same=span("same"),
        difference=sums["difference_sum"] / sums["differences"] if sums["differences"] else None,
        answers=span("answers"),
        agreed=span("agreed"),
        grave=rollouts.alarmed(db, row, GRAVE),
        notable=rollouts.alarmed(db, row, NOTABLE),
    )


def _take_in_late(db: sa.Connection, row: sa.RowMapping) -> None:
    last = len(row["shares"])
    wish = WishKind.LIVE if row["state"] == State.DONE else None
    if row["stage"] == last and wish is None:
        wish = WishKind(row["phase"])
    rollouts.add_late(db, row["id"], stage=last, wish=wish)


def _step(db: sa.Connection, row: sa.RowMapping, rules: Rules) -> None:
    evidence = gather(db, row)
    findings = judge(evidence, rules)
    standing = outcome(findings)
    if standing is Standing.BROKEN:
        _break(db, row, findings)
    elif standing is Standing.GOOD or evidence.sites == 0:
        _go_on(db, row, findings)


def _break(db: sa.Connection, row: sa.RowMapping, findings: Sequence[Finding]) -> None:
    broken = [finding for finding in findings if finding.standing is Standing.BROKEN]
    reason = "; ".join(f"{finding.title}: {finding.text}" for finding in broken)
    rollouts.change(db, row["id"], state=State.PAUSED, reason=reason)
    rollouts.note(db, row, actor=GATE, act="pause", reason=reason)
    log.warning("A roll-out is paused", rollout=row["id"], model=row["model"], stage=row["stage"])
    if any(finding.back for finding in broken) and (number := rollouts.wish_back(db, row["id"], stage=row["stage"])):
        rollouts.note(db, row, actor=GATE, act="back", reason=f"{number} sites of this stage go back: {reason}")


def _go_on(db: sa.Connection, row: sa.RowMapping, findings: Sequence[Finding]) -> None:
    reason = "; ".join(finding.text for finding in findings)
    if row["phase"] == Phase.SHADOW:
        _enter(db, row, stage=row["stage"], phase=Phase.LIVE)
        rollouts.note(db, row, actor=GATE, act="live", reason=reason)
    elif row["stage"] == len(row["shares"]):
        rollouts.change(db, row["id"], state=State.DONE, reason="")
        rollouts.note(db, row, actor=GATE, act="done", reason=reason)
    else:
        _enter(db, row, stage=row["stage"] + 1, phase=Phase.SHADOW)
        rollouts.note(db, row, actor=GATE, act="next stage", reason=reason, stage=row["stage"] + 1)


def _enter(db: sa.Connection, row: sa.RowMapping, *, stage: int, phase: Phase, evidence_since: datetime | None = None) -> None:
    moment = now()
    rollouts.change(
        db, row["id"], stage=stage, phase=phase, phase_since=moment, evidence_since=evidence_since or moment, reason=""
    )
    rollouts.wish_stage(db, row["id"], stage, WishKind(phase.value))


def go_on_again(db: sa.Connection, row: sa.RowMapping, *, evidence_since: datetime) -> None:
    """Let a paused roll-out run. Where its gate had paused it, the phase begins anew, in shadow where sites went back."""
    rollouts.change(db, row["id"], state=State.RUNNING, reason="")
    paused_by = next((act["actor"] for act in rollouts.acts(db, row["id"]) if act["act"] == "pause"), "")
    if paused_by != GATE:
        return
    phase = Phase.SHADOW if rollouts.went_back(db, row) else Phase(row["phase"])
    _enter(db, row, stage=row["stage"], phase=phase, evidence_since=evidence_since)
