"""Which model serves, in which mode, and which one is tried beside it: decisions that are only ever added, the latest holds.

Where nothing was ever decided, the model of the settings is in service and live, as on a node of its own. What shows results to
readers takes two named people; what takes them away takes one. Each act and its entry in the audit trail are one transaction.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pneumoscope.errors import Rejected
from pneumoscope.fleet.messages import Limits, Mode
from pneumoscope.store import audit, now
from pneumoscope.store.fleet_schema import service_act

#: Actors that are no people; no login can hold a blank.
HUB, STOP_RULE = "the hub", "the stop rule"
_NOBODY = (HUB, STOP_RULE)
#: When what was never decided has held since.
EVER = datetime.fromtimestamp(0, UTC)
#: What a first person asks for and a second confirms, by the act that it leads to.
ASKS = {"release": "ask release", "promote": "ask promote", "resume": "ask resume"}
#: A wish that nobody has confirmed in this time is void.
ASK_HOLDS = timedelta(days=14)
MOST_CHARACTERS = 1000
_FACTS = ("model", "mode", "candidate", "previous", "no_sign_below", "sign_from", "rollout")


class NotAllowed(Rejected):
    """A step that the state of the service, or the lack of a second person, does not allow."""

    default_code = "service-step"


@dataclass(frozen=True, kw_only=True)
class Service:
    """What holds. ``model``, ``candidate``, ``previous``: name and version, empty for none.

    ``no_sign_below``, ``sign_from``: the site's own limits for the present model, None for its own. ``act``, ``actor``,
    ``reason``, ``since``: how the latest change came about; ``act`` is empty where nothing was ever decided.
    ``rollout``: of the hub that last moved a model here, or empty.
    """

    model: str
    mode: Mode
    candidate: str = ""
    previous: str = ""
    no_sign_below: float | None = None
    sign_from: float | None = None
    since: datetime = EVER
    act: str = ""
    actor: str = ""
    reason: str = ""
    rollout: str = ""

    @property
    def is_live(self) -> bool:
        """Whether results are filed, shown and delivered."""
        return self.mode is Mode.LIVE


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What one person has asked for and another is to confirm."""

    act: str  # release, promote or resume
    actor: str
    reason: str
    at: datetime


def current(db: sa.Connection, default_model: str) -> Service:
    """What holds now. ``default_model``: name and version of the settings' model, for a node where no other was named."""
    query = sa.select(service_act).where(service_act.c.act.not_in(ASKS.values())).order_by(service_act.c.id.desc())
    row = db.execute(query.limit(1)).mappings().first()
    if row is None:
        return Service(model=default_model, mode=Mode.LIVE)
    facts = {name: row[name] for name in _FACTS} | {"mode": Mode(row["mode"]), "model": row["model"] or default_model}
    return Service(**facts, since=row["at"], act=row["act"], actor=row["actor"], reason=row["reason"])


def asked(db: sa.Connection) -> Ask | None:
    """What waits for a second person: nothing was decided since, and it is not too old."""
    row = db.execute(sa.select(service_act).order_by(service_act.c.id.desc()).limit(1)).mappings().first()
    acts = {word: act for act, word in ASKS.items()}
    if row is None or row["act"] not in acts or row["at"] < now() - ASK_HOLDS:
        return None
    return Ask(act=acts[row["act"]], actor=row["actor"], reason=row["reason"], at=row["at"])


def history(db: sa.Connection, *, limit: int = 200) -> list[sa.RowMapping]:
    """Everything that was decided or asked for, the latest first."""
    return list(db.execute(sa.select(service_act).order_by(service_act.c.id.desc()).limit(limit)).mappings())


def last(db: sa.Connection, act: str) -> sa.RowMapping | None:
    """The latest row of an act."""
    query = sa.select(service_act).where(service_act.c.act == act).order_by(service_act.c.id.desc()).limit(1)
    return db.execute(query).mappings().first()


def was_heeded(db: sa.Connection, stop_id: str) -> bool:
    """Whether a stop of the hub was done here; what people decided since stands."""
    done = (service_act.c.actor == HUB, service_act.c.act.in_(("stop", "withdraw")), service_act.c.rollout == stop_id)
    return db.execute(sa.select(service_act.c.id).where(*done).limit(1)).first() is not None


def keep(db: sa.Connection) -> None:
    """Nothing is decided until this transaction ends: what it files, it files while the state that it saw holds."""
    _lock(db, shared=True)


def begin(db: sa.Connection, *, model: str, actor: str, reason: str = "") -> Service:
    """A node joins a fleet with ``model``, in shadow; where anything was decided before, that goes on holding."""
    _lock(db)
    found = current(db, model)
    return found if found.act else _add(db, "begin", replace(found, mode=Mode.SHADOW), actor=actor, reason=reason)


def ask(db: sa.Connection, act: str, *, actor: str, reason: str = "", default_model: str = "") -> None:
    """One person wishes a release, a promotion or a resumption; it changes nothing until another does it."""
    _lock(db)
    found = current(db, default_model)
    _named(actor)
    {"release": _releasable, "promote": _promotable, "resume": _resumable}[act](found)
    _add(db, ASKS[act], found, actor=actor, reason=reason)


def release(db: sa.Connection, *, actor: str, second: str, reason: str = "", default_model: str = "") -> Service:
    """Two people show the readings of the present model from now on. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    _releasable(found)
    _two(actor, second)
    return _add(db, "release", replace(found, mode=Mode.LIVE), actor=actor, second=second, reason=reason)


def propose(
    db: sa.Connection, candidate: str, *, actor: str, reason: str = "", rollout: str = "", default_model: str = ""
) -> Service:
    """A model reads beside the present one from now on, for comparison alone. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    if not candidate or candidate == found.model:
        raise NotAllowed(f"{candidate or 'No model'} cannot be tried beside {found.model}; allowed is another model.")
    if not found.model:
        raise NotAllowed("The model in service has no name yet; allowed is a trial beside one that is named.")
    state = replace(found, candidate=candidate, rollout=rollout)
    return found if state == found else _add(db, "candidate", state, actor=actor, reason=reason)


def withdraw(db: sa.Connection, *, actor: str, reason: str = "", rollout: str = "", default_model: str = "") -> Service:
    """There is no candidate any more. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    if not found.candidate:
        raise NotAllowed("There is no candidate that could be withdrawn.")
    state = replace(found, candidate="", rollout=rollout or found.rollout)
    return _add(db, "withdraw", state, actor=actor, reason=reason)


def promote(  # noqa: PLR0913 - each is a column
    db: sa.Connection,
    *,
    actor: str,
    second: str = "",
    reason: str = "",
    rollout: str = "",
    by_hub: bool = False,
    default_model: str = "",
) -> Service:
    """The candidate takes the place of the present model, live, with its own limits. Raises NotAllowed.

    ``by_hub``: the site's setting fleet.promotion is "hub", so that the hub may do it alone.
    """
    _lock(db)
    found = current(db, default_model)
    _promotable(found)
    if not (by_hub and actor == HUB):
        _two(actor, second)
    state = Service(model=found.candidate, mode=Mode.LIVE, previous=found.model, rollout=rollout or found.rollout)
    return _add(db, "promote", state, actor=actor, second=second, reason=reason)


def back(db: sa.Connection, *, actor: str, reason: str = "", rollout: str = "", default_model: str = "") -> Service:
    """As it was: the candidate goes, or the previous model is in service again with its mode and limits. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    if found.candidate:
        state = replace(found, candidate="", rollout=rollout or found.rollout)
        return _add(db, "withdraw", state, actor=actor, reason=reason)
    if not found.previous:
        raise NotAllowed("There is neither a candidate nor a previous model that a step back could lead to.")
    state = replace(_before_promotion(db, found), candidate="", previous="", rollout=rollout or found.rollout)
    return _add(db, "back", state, actor=actor, reason=reason)


def stop(db: sa.Connection, *, actor: str, reason: str, rollout: str = "", default_model: str = "") -> Service:
    """The present model is out of service at once: no result is filed after this transaction. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    if found.mode is Mode.STOPPED:
        raise NotAllowed("The model is out of service already.")
    if not reason.strip():
        raise NotAllowed("No reason was given; readers are told why a model is out of service.", code="service-reason")
    state = replace(found, mode=Mode.STOPPED, rollout=rollout or found.rollout)
    return _add(db, "stop", state, actor=actor, reason=reason)


def resume(db: sa.Connection, *, actor: str, second: str = "", reason: str = "", default_model: str = "") -> Service:
    """As before the stop; where results are shown again, two people do it. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    _resumable(found)
    mode = _mode_before_stop(db)
    if mode is Mode.LIVE:
        _two(actor, second)
    else:
        _named(actor)
    return _add(db, "resume", replace(found, mode=mode), actor=actor, second=second, reason=reason)


def set_limits(  # noqa: PLR0913 - each is a column
    db: sa.Connection,
    *,
    actor: str,
    no_sign_below: float | None,
    sign_from: float | None,
    allowed: Limits,
    reason: str = "",
    default_model: str = "",
) -> Service:
    """The site's own limits of the categories for the present model; None for both: those of the model. Raises NotAllowed."""
    _lock(db)
    found = current(db, default_model)
    _named(actor)
    if (no_sign_below is None) != (sign_from is None):
        raise NotAllowed("One limit was given; allowed are both, or none for those of the model.", code="service-limits")
    for name, value, (low, high) in (
        ("No sign below", no_sign_below, allowed.no_sign_below),
        ("Sign from", sign_from, allowed.sign_from),
    ):
        if value is not None and not low <= value <= high:
            raise NotAllowed(f"{name} {value:g} was given; allowed is {low:g} to {high:g}.", code="service-limits")
    if no_sign_below is not None and sign_from is not None and no_sign_below > sign_from:
        raise NotAllowed(f"No sign below {no_sign_below:g} lies above sign from {sign_from:g}.", code="service-limits")
    state = replace(found, no_sign_below=no_sign_below, sign_from=sign_from)
    return _add(db, "limits", state, actor=actor, reason=reason)


def _releasable(found: Service) -> None:
    if found.mode is not Mode.SHADOW:
        raise NotAllowed(f"The model in service is {found.mode}; released can be one that is in shadow.")


def _promotable(found: Service) -> None:
    if not found.candidate:
        raise NotAllowed("There is no candidate that could be put in service.")


def _resumable(found: Service) -> None:
    if found.mode is not Mode.STOPPED:
        raise NotAllowed(f"The model in service is {found.mode}; resumed can be one that was stopped.")


def _named(actor: str) -> None:
    if not actor.strip() or actor in _NOBODY:
        raise NotAllowed("No person was named; it takes a named one.", code="service-two-people")


def _two(actor: str, second: str) -> None:
    for person in (actor, second):
        if not person.strip() or person in _NOBODY:
            raise NotAllowed("Fewer than two people were named; it takes two different ones.", code="service-two-people")
    if actor.strip().casefold() == second.strip().casefold():
        raise NotAllowed("One person was named twice; it takes two different ones.", code="service-two-people")


def _mode_before_stop(db: sa.Connection) -> Mode:
    """Of the last row that was not stopped; live where there is none, since then nothing else was ever decided."""
    query = sa.select(service_act.c.mode).where(service_act.c.mode != Mode.STOPPED).order_by(service_act.c.id.desc())
    return Mode(db.execute(query.limit(1)).scalar() or Mode.LIVE)


def _before_promotion(db: sa.Connection, found: Service) -> Service:
    """The state that the last promotion ended; live with the previous model where nothing stands before it."""
    last = sa.select(sa.func.max(service_act.c.id)).where(service_act.c.act == "promote").scalar_subquery()
    query = sa.select(service_act).where(service_act.c.id < last, service_act.c.act.not_in(ASKS.values()))
    row = db.execute(query.order_by(service_act.c.id.desc()).limit(1)).mappings().first()
    if row is None:
        return Service(model=found.previous, mode=Mode.LIVE)
    facts = {name: row[name] for name in _FACTS} | {"mode": Mode(row["mode"]), "model": row["model"] or found.previous}
    return Service(**facts)


def _add(db: sa.Connection, act: str, state: Service, *, actor: str, second: str = "", reason: str = "") -> Service:
    facts: dict[str, Any] = {name: getattr(state, name) for name in _FACTS}
    said, moment = " ".join(reason.split())[:MOST_CHARACTERS], now()
    db.execute(service_act.insert().values(at=moment, act=act, actor=actor, second=second, reason=said, **facts))
    people = f"{actor} and {second}" if second else actor
    beside = f", beside it {state.candidate}" if state.candidate else ""
    detail = f"{act} by {people}: {state.model or 'the model of the settings'}, {state.mode}{beside}. {said}".strip()
    audit.record(db, action="service", actor=actor, detail=detail)
    return replace(state, since=moment, act=act, actor=actor, reason=said)


def _lock(db: sa.Connection, *, shared: bool = False) -> None:
    """One decision after the other, as on SQLite; filing shares the lock, and so comes before or after each."""
    if db.dialect.name != "sqlite":
        db.execute(sa.text(f"SELECT pg_advisory_xact_lock{'_shared' if shared else ''}(7366345)"))
