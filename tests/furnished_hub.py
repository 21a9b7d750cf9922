"""Something on every page of a hub: invented hospitals in a month of an epidemic, alarms, a roll-out, a stop."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from fleet_maker import DAY, MODEL, NEW_MODEL, candidate, flat, midnight, model_window, report, window
from pneumoscope.config import Settings
from pneumoscope.fleet.messages import (
    Agreement,
    Alarm,
    AlarmKind,
    Answer,
    Mode,
    ModelWindow,
    Offer,
    Policy,
    Report,
    WishStage,
    WishState,
)
from pneumoscope.hub import steering
from pneumoscope.hub.taking import Said, take
from pneumoscope.store import Database, accounts, now, rollouts, sessions, site_alarms, sites
from pneumoscope.store.hub_schema import site
from pneumoscope.store.sessions import Limits
from pneumoscope.store.sites import Caller

#: What the hub needs in its settings: nobody falls silent while the pages are looked at.
SETTINGS = "[hub.policy]\nevery_s = 3600\n"
OLD_MODEL = "lung-lesion 0.9.0"
#: Hospitals of each province, how many studies a day one has, and the share with signs at the height of the wave.
_PROVINCES = {
    "Hubei": (6, 150, 0.85), "Hunan": (3, 90, 0.45), "Henan": (3, 100, 0.5), "Anhui": (2, 90, 0.3), "Jiangxi": (2, 90, 0.34),
    "Chongqing": (2, 80, 0.26), "Zhejiang": (3, 110, 0.2), "Guangdong": (4, 130, 0.14), "Jiangsu": (2, 100, 0.1),
    "Shanghai": (2, 120, 0.09), "Sichuan": (2, 110, 0.08), "Shandong": (2, 90, 0.07), "Beijing": (2, 110, 0.05),
    "Shaanxi": (1, 60, 0.05), "Fujian": (1, 70, 0.1), "Heilongjiang": (1, 40, 0.12), "Hainan": (1, 25, 0.2),
    "Yunnan": (1, 50, 0.03), "Inner Mongolia": (1, 100, 0.0), "Xinjiang": (1, 45, 0.02), "Tibet": (1, 0, 0.0),
}  # fmt: skip
_NAMES = ("Riverside", "Pine Hill", "Lakeside", "East Gate", "Old Bridge", "Plum Garden")
_REFUSES, _FETCHES = "Anhui Riverside Hospital", "Zhejiang Riverside Hospital"
_CANARIES = ("Hubei Riverside Hospital", "Hunan Riverside Hospital", "Guangdong Riverside Hospital", _FETCHES, _REFUSES)
_QUIET, _NOT_READY, _SHUT = "Hubei Old Bridge Hospital", "Henan Lakeside Hospital", "Zhejiang Lakeside Hospital"
_SHADOW = ("Shandong Pine Hill Hospital", "Yunnan Riverside Hospital")
#: Those with the model that is stopped: one has done so, one decides itself, one was not heard since.
_STOPPED, _DECIDES = "Jiangxi Pine Hill Hospital", "Henan Pine Hill Hospital"


@dataclass(frozen=True)
class Fleet:
    """The token of an administrator's session, and names of what has a page."""

    token: str
    troubled: str
    quiet: str
    rollout: str
    stop: str


def furnish(settings: Settings) -> Fleet:
    """Put it into the database of a hub, which may run."""
    database, chance = Database(settings.database_url), random.Random(5)
    with database.begin() as db:
        callers = dict(_join(db))
        told = {title: _report(title, chance) for title in callers}
        take(db, [Said(caller=callers[title], report=one) for title, one in told.items()], policy=Policy())
        sites.invite(db, title="Gansu Riverside Hospital", province="Gansu", secret="secret", until=now() + DAY)
        sites.shut(db, callers[_SHUT].site)
        rollout = _roll_out(db, callers)
        stop = steering.stop(db, OLD_MODEL, actor="lin", reason="Scores are too low on slices of 5 mm.")
        take(db, [_said(callers[_STOPPED], model=OLD_MODEL, mode=Mode.STOPPED)], policy=Policy())
        take(db, [_said(callers[_DECIDES], model=OLD_MODEL)], policy=Policy())
        db.execute(site.update().where(site.c.title == _QUIET).values(heard_at=now() - timedelta(hours=9)))
        site_alarms.silent(db, since=now() - timedelta(hours=5))
        account_id = accounts.add(db, login="lin", name="Lin Mei", roles=["administrator", "auditor"])
        accounts.set_password(db, account_id, "none")
        token = sessions.begin(db, account_id, address="192.0.2.7", agent="Firefox", limits=Limits(idle=DAY, longest=DAY))
    database.close()
    return Fleet(token, callers[_CANARIES[0]].site, callers[_QUIET].site, rollout, stop)


def _join(db: sa.Connection) -> Iterator[tuple[str, Caller]]:
    for province, (number, _, _) in _PROVINCES.items():
        for name in _NAMES[:number]:
            title = f"{province} {name} Hospital"
            site_id = sites.invite(db, title=title, province=province, secret=title, until=now() + DAY)
            sites.joined(db, site_id, serial=title, until=now() + 80 * DAY)
            yield title, Caller(site=site_id, serial=title)


def _said(caller: Caller, **more: object) -> Said:
    return Said(caller=caller, report=report(**more))


def _report(title: str, chance: random.Random) -> Report:
    """A month of one hospital, and how it is."""
    province = next(name for name in _PROVINCES if title.startswith(name))
    _, usual, height = _PROVINCES[province]
    mode = Mode.SHADOW if title in _SHADOW else Mode.LIVE
    tries = title in _CANARIES and title not in {_REFUSES, _FETCHES}
    old = title in {_STOPPED, _DECIDES, _QUIET}
    windows = []
    for days_ago in range(30 if usual else 0, 0, -1):
        wave = math.exp(-(((days_ago - 13) / 9) ** 2))
        studies = round(usual * (1 + wave) * chance.uniform(0.75, 1.25))
        models = [_model(studies, height * wave + min(0.01, height), chance, mode=mode, model=OLD_MODEL if old else MODEL)]
        if tries and days_ago < 4:
            models.append(candidate(pairs=round(0.6 * studies), same=round(0.57 * studies)))
        windows.append(window(midnight(days_ago=days_ago), *models, studies=studies))
    made = report(
        *windows,
        model=OLD_MODEL if old else MODEL,
        mode=mode,
        candidate=NEW_MODEL if tries else "",
        alarms=_ALARMS.get(title, ()),
    )
    ready = title != _NOT_READY
    faults = () if ready else ("disk-full", "pacs-unreachable")
    left = 0.01 if not ready else round(chance.uniform(0.2, 0.8), 2)
    waiting = None if chance.random() < 0.3 else chance.choice((0, 0, 0, 7, 12))
    health = made.health.model_copy(update={"ready": ready, "faults": faults, "disk_free_share": left, "waiting": waiting})
    return made.model_copy(update={"health": health})


def _model(studies: int, share: float, chance: random.Random, **more: object) -> ModelWindow:
    """One day of a model, with small counts hidden as a site hides them."""
    sign = sum(chance.random() < share for _ in range(studies))
    unsure = min(studies - sign, round(0.07 * studies))
    heavy = sum(chance.random() < 0.3 for _ in range(sign))
    answers = round(0.5 * studies)
    agreed = sum(chance.random() < 0.92 for _ in range(answers))
    told = _told(sign, unsure, studies - sign - unsure)
    involved = _told(heavy, sign - heavy, studies - sign)
    return model_window(
        read=studies,
        categories=dict(zip((Answer.SIGN, Answer.INDETERMINATE, Answer.NO_SIGN), told, strict=True)),
        score=flat("score", b8=told[0], b4=told[1], b0=told[2]),
        involved_percent=flat("involved_percent", b5=involved[0], b3=involved[1], b0=involved[2]),
        agreement=Agreement(answers=answers, agreed=None if 1 <= answers - agreed <= 4 else agreed),
        **more,
    )


def _told(*numbers: int) -> tuple[int | None, ...]:
    """Numbers whose sum is told: none from 1 to 4, and none such by subtraction; the first are hidden rather than the last."""
    small = [1 <= number <= 4 for number in numbers]
    while any(small) and sum(number for number, hide in zip(numbers, small, strict=True) if hide) < 5 and not all(small):
        small[small.index(False)] = True
    if sum(small) == 1:
        small[small.index(False)] = True
    return tuple(None if hide else number for number, hide in zip(numbers, small, strict=True))


def _alarm(kind: AlarmKind, days_ago: int, **more: object) -> Alarm:
    return Alarm(kind=kind, since=midnight(days_ago=days_ago), **more)


_ALARMS = {
    "Hubei Riverside Hospital": (
        _alarm(AlarmKind.INPUT_DRIFT, 3, subject="thickness_mm", value=2.1, limit=0.5),
        _alarm(AlarmKind.LATE, 1, value=214, limit=60),
    ),
    _NOT_READY: (_alarm(AlarmKind.FAILURES, 1, value=0.22, limit=0.1),),
    "Guangdong Pine Hill Hospital": (_alarm(AlarmKind.SUBGROUP, 6, subject="age:60-70.disagreement", value=0.31, limit=0.09),),
    "Hainan Riverside Hospital": (_alarm(AlarmKind.CERTIFICATE, 2, value=6),),
}


def _roll_out(db: sa.Connection, callers: dict[str, Caller]) -> str:
    """In its first stage for three days; the gate waits for one canary, and one refused."""
    offered = Offer(model=NEW_MODEL, sha256="b3" * 32, size_bytes=31_400_000)
    rollouts.add_offer(db, one=offered, device_uid="2.25.3", key="bundles/none.zip", signer="Invented Maker (0011 2233)")
    rollout = steering.roll_out(db, NEW_MODEL, canaries=_CANARIES, shares=[0.25], actor="lin")
    since = midnight(days_ago=3)
    rollouts.change(db, rollout, phase_since=since, evidence_since=since, started_at=since)
    stages = dict.fromkeys(_CANARIES, WishStage.SHADOW) | {_REFUSES: WishStage.REFUSED, _FETCHES: WishStage.FETCHING}
    for title, stage in stages.items():
        wish = WishState(rollout=rollout, stage=stage, code="model-altered" if stage is WishStage.REFUSED else "")
        more = {"candidate": NEW_MODEL} if stage is WishStage.SHADOW else {}
        take(db, [_said(callers[title], wish=wish, alarms=_ALARMS.get(title, ()), **more)], policy=Policy())
    return rollout
