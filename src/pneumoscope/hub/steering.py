"""What administrators do with models and roll-outs, by page or by command line; each act is in the audit trail."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from pneumoscope.config import Hub
from pneumoscope.errors import Rejected
from pneumoscope.fleet.messages import Offer, window_start
from pneumoscope.hub.moving import check_shares, go_on_again, stages_of
from pneumoscope.models import examine, trust
from pneumoscope.store import Store, audit, now, rollouts, sites, stops
from pneumoscope.store.rollouts import State

#: Of the members of a bundle's zip, so that one bundle is always one zip.
_WHEN = (1980, 1, 1, 0, 0, 0)


def offer(store: Store, folder: Path, *, actor: str) -> Offer:
    """Keep a bundle for sites to fetch, once every byte of it is checked. Raises OperatorNeeded, Rejected."""
    found = examine(folder, trust=trust())
    if found.fault:
        raise found.fault
    assert found.manifest is not None
    assert found.signer is not None
    content = _zipped(dict(found.files))
    digest = hashlib.sha256(content).hexdigest()
    one = Offer(model=f"{found.manifest.name} {found.manifest.version}", sha256=digest, size_bytes=len(content))
    key = f"bundles/{digest}.zip"
    store.files.put(key, content)
    with store.database.begin() as db:
        given = {"device_uid": found.manifest.device_uid, "key": key, "signer": found.signer.title}
        if rollouts.add_offer(db, one=one, **given):
            audit.record(db, action="fleet", actor=actor, detail=f"{one.model} is offered, signed by {found.signer.title}.")
    return one


def _zipped(files: dict[str, bytes]) -> bytes:
    """Nothing is packed: weights hardly shrink, and another zlib would make another zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _WHEN)
            member.external_attr = 0o100644 << 16
            member.create_system = 3
            archive.writestr(member, files[name])
    return buffer.getvalue()


def roll_out(db: sa.Connection, model: str, *, canaries: Sequence[str], shares: Sequence[float], actor: str) -> str:
    """Begin to bring an offered model to all sites, the ``canaries`` (titles or ids) first; its id. Raises Rejected."""
    offered = rollouts.find_offer(db, model=model)
    if offered is None:
        known = ", ".join(row["model"] for row in rollouts.offers(db)) or "none"
        raise Rejected(f"No bundle {model!r} is offered; offered are: {known}.", code="offer-unknown")
    _must_not_be_stopped(db, model)
    members = sites.members(db)
    chosen = list(dict.fromkeys(sites.find(db, wanted)["id"] for wanted in canaries))
    if not chosen or set(chosen) - set(members):
        raise Rejected("Canaries are one or more sites that have joined and are not shut out.", code="canary-wrong")
    given = check_shares(shares)
    stages = stages_of(members, canaries=chosen, shares=given, model=model)
    rollout_id = rollouts.begin(db, offered=offered, stages=stages, shares=given)
    row = rollouts.get(db, rollout_id)
    assert row is not None
    plan = ", then ".join([f"{len(chosen)} sites first", *(f"{100 * share:g} %" for share in given)])
    _noted(db, row, actor=actor, act="begin", reason=plan)
    return rollout_id


def find(db: sa.Connection, rollout_id: str = "") -> sa.RowMapping:
    """A roll-out, or the newest. Raises Rejected."""
    row = rollouts.get(db, rollout_id) if rollout_id else next(iter(rollouts.everything(db)), None)
    if row is None:
        raise Rejected("There is no such roll-out.", code="rollout-unknown")
    return row


def pause(db: sa.Connection, row: sa.RowMapping, *, actor: str, reason: str = "") -> None:
    """Let nothing move; sites stay where they are. Raises Rejected."""
    _must_be(row, State.RUNNING)
    rollouts.change(db, row["id"], state=State.PAUSED, reason=reason or f"{actor} paused it")
    _noted(db, row, actor=actor, act="pause", reason=reason)


def resume(db: sa.Connection, row: sa.RowMapping, hub: Hub, *, actor: str, reason: str = "") -> None:
    """Let it go on; where its gate had paused it, what broke the gate counts no more. Raises Rejected."""
    _must_be(row, State.PAUSED)
    _must_not_be_stopped(db, row["model"])
    window_s = hub.policy.window_s
    go_on_again(db, row, evidence_since=window_start(now(), window_s=window_s) + timedelta(seconds=window_s))
    _noted(db, row, actor=actor, act="resume", reason=reason)


def back(db: sa.Connection, row: sa.RowMapping, *, actor: str, reason: str = "") -> int:
    """Have every site return to what it ran before; how many were asked. Raises Rejected."""
    _must_be(row, State.RUNNING, State.PAUSED, State.DONE)
    number = rollouts.wish_back(db, row["id"])
    rollouts.change(db, row["id"], state=State.BACK, reason=reason or f"{actor} took it back")
    _noted(db, row, actor=actor, act="back", reason=reason)
    return number


def back_site(db: sa.Connection, row: sa.RowMapping, wanted: str, *, actor: str, reason: str = "") -> None:
    """Have one site return to what it ran before, and ask it no more. Raises Rejected."""
    site = sites.find(db, wanted)
    title = site["title"]
    if not rollouts.take_out(db, row["id"], site["id"]):
        raise Rejected(f"{title} is not in this roll-out.", code="site-not-in-rollout")
    _noted(db, row, actor=actor, act="back", reason=f"{title} alone{': ' if reason else ''}{reason}")


def stop(db: sa.Connection, model: str, *, actor: str, reason: str) -> str:
    """Have every site take a model out of service; a roll-out of it is paused. Returns the id. Raises Rejected."""
    stop_id, said = stops.add(db, model, actor=actor, reason=reason), " ".join(reason.split())
    for row in rollouts.everything(db):
        if row["model"] == model and row["state"] == State.RUNNING:
            pause(db, row, actor=actor, reason=f"the model is to be stopped everywhere: {said}")
    audit.record(db, action="fleet", actor=actor, detail=f"{model} is to be stopped at every site: {said}")
    return stop_id


def lift(db: sa.Connection, row: sa.RowMapping, *, actor: str, reason: str = "") -> None:
    """Ask sites no more to have a model stopped; it comes back nowhere by that. Raises Rejected."""
    if row["lifted_at"] is not None:
        raise Rejected(f"The stop of {row['model']} was lifted before.", code="stop-unknown")
    stops.lift(db, row["id"], actor=actor)
    detail = f"The stop of {row['model']} was lifted{': ' if reason else ''}{reason}"
    audit.record(db, action="fleet", actor=actor, detail=detail)


def find_stop(db: sa.Connection, model: str) -> sa.RowMapping:
    """The stop of a model that stands. Raises Rejected."""
    row = stops.of_model(db, model)
    if row is None:
        raise Rejected(f"No stop of {model!r} stands.", code="stop-unknown")
    return row


def _must_not_be_stopped(db: sa.Connection, model: str) -> None:
    if stops.of_model(db, model) is not None:
        raise Rejected(f"{model} is to be stopped at every site; lift that first.", code="stop-stands")


def _must_be(row: sa.RowMapping, *allowed: State) -> None:
    if row["state"] not in allowed:
        raise Rejected(
            f"The roll-out of {row['model']} is {row['state']}; for this it must be {' or '.join(allowed)}.",
            code="rollout-state",
        )


def _noted(db: sa.Connection, row: sa.RowMapping, *, actor: str, act: str, reason: str) -> None:
    rollouts.note(db, row, actor=actor, act=act, reason=reason)
    detail = f"Roll-out of {row['model']}: {act}{', ' if reason else ''}{reason}."
    audit.record(db, action="fleet", actor=actor, detail=detail)
