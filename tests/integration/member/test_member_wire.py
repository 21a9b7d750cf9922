"""What crosses the wire, caught at a TLS server: messages, and nothing of what a node knows of people and machines."""

import re
import socket
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from member_site import HOUR, Heard, Site, ear, this_hour

from pneumoscope.fleet.messages import Orders, Policy, Report
from pneumoscope.hub.authority import Authority
from pneumoscope.member import membership
from pneumoscope.store import now
from pneumoscope.store.schema import metadata

PLANTED = "Zq7"
BORN, UID = "19470213", "1.2.826.0.1.3680043.99.7654321"
#: Columns that hold what is told anyway, in words that the tables limit; all others are planted.
TOLD = {
    "service_act": ("act", "mode", "model", "candidate", "previous", "rollout"),
    "alarm": ("site", "kind", "subject"),
    "fleet_window": ("content",),
    "observation": ("role", "mode", "outcome", "category", "features"),
    "verdict": ("category", "source"),
    "review": ("judgement", "category", "found_category"),
    "process": ("state",),
}


def plant(site: Site) -> int:
    """A row in every table of the node, with recognisable values in each column of text; how many values."""
    planted = 0
    with site.store.database.begin() as db:
        there = sa.inspect(db).get_table_names()
        for table in metadata.sorted_tables:
            if table.name in there and table.name not in ("fleet_window", "alarm", "service_act"):
                row = {column.name: value(column) for column in table.columns if column.name not in TOLD.get(table.name, ())}
                row |= {"observation": observation(), "verdict": {"category": "sign", "source": "page"}}.get(table.name, {})
                row |= {"review": {"judgement": "accept", "category": "", "found_category": "no sign"}}.get(table.name, {})
                row |= {"state": "alive"} if table.name == "process" else {}
                db.execute(table.insert().values(**{name: one for name, one in row.items() if one is not None}))
                planted += sum(isinstance(one, str) and (PLANTED in one or one in (BORN, UID)) for one in row.values())
    return planted


def value(column: "sa.Column[Any]") -> Any:
    source = next(iter(column.foreign_keys)).column if column.foreign_keys else column
    kind = source.type
    if isinstance(kind, sa.String):
        if source.name.endswith("UID"):
            return UID
        return BORN if "Date" in source.name else f"{PLANTED}^{source.table.name}/{source.name}"[: kind.length or 200]
    if isinstance(kind, sa.JSON):
        return {f"{PLANTED}key": f"{PLANTED}value", "PatientBirthDate": BORN}
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, sa.Integer | sa.Float):
        return None if source.primary_key and source.autoincrement is True else 1
    return this_hour() - HOUR + timedelta(minutes=5)


def observation() -> dict[str, Any]:
    words = {"sex": f"{PLANTED}sex", "kernel": f"{PLANTED}kernel", f"{PLANTED}key": BORN, "age_years": 55.0}
    return {"role": "present", "mode": "live", "outcome": "read", "category": "sign", "probability": 0.7, "features": words}


def joined(folder: Path, authority: Authority, heard: Heard) -> Site:
    site = Site(folder / "site")
    place, own = membership.folder(site.settings), str(uuid.uuid4())
    pem, _, _ = authority.sign_site(membership.request(membership.load_key(place)), own, days=1 / 24)
    facts = membership.Facts(site=own, title="A", province="B", reports_url=heard.url, joined_at=this_hour() - HOUR)
    membership.keep(place, facts, certificate=pem, authority=authority.pem)
    policy = Policy(window_s=3600, every_s=0.2)
    heard.answer = Orders(now=now(), site=own, title="A", province="B", policy=policy).model_dump_json().encode()
    return site


def test_nothing_of_patients_people_or_machines_is_sent(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with ear(authority) as heard:
        site = joined(tmp_path, authority, heard)
        assert plant(site) > 100
        start = this_hour() - HOUR
        secret = {"model": "lung-lesion 0.3.0", "code": f"{PLANTED} code", "device_uid": "2.25.7"}
        for minute, number, more in ((1, 30, {}), (11, 3, {"outcome": "failed", **secret}), (21, 6, {"category": "no-sign"})):
            features = {"sex": "f", "age_years": 71.0, f"{PLANTED}name": f"{PLANTED}value", "manufacturer": PLANTED}
            site.observe(start + timedelta(minutes=minute), number, **({"features": features} | more))
        for _ in range(2):
            site.reporting.turn()
        assert site.reporting.trouble == ""
        site.close()
    requests = [body.partition(b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n") for body in heard.bodies]
    reports = [Report.model_validate_json(body) for head, _, body in requests if head.startswith(b"POST /report")]
    renewals = [body for head, _, body in requests if head.startswith(b"POST /renew")]
    assert (len(reports), len(renewals)) == (2, 1)
    assert [len(report.windows) for report in reports] == [0, 1]
    (window,) = reports[1].windows
    assert {count for model in window.models for count in (model.read, *model.failed.values())} <= {None, 0, 30, 36, 37}
    numbers = re.findall(r'(?<![\d.":])\b([1-4])\b(?![\d.])', reports[1].model_dump_json(include={"windows"}))
    assert numbers == []
    everything = b"".join(heard.bodies)
    for secret_word in (PLANTED, PLANTED.lower(), BORN, "1947-02-13", UID, "3680043", "7654321", str(tmp_path), "/tmp"):
        assert secret_word.encode() not in everything
    if socket.gethostname() != "localhost":
        assert socket.gethostname().encode() not in everything


def test_a_hub_that_refuses_windows_hears_of_the_site_and_one_that_keeps_none_is_not_hammered(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with ear(authority) as heard:
        site = joined(tmp_path, authority, heard)
        for _ in range(3):
            site.reporting.turn()
        assert [len(report.windows) for report in sent(heard)] == [0, 1, 1]
        heard.status = 400
        site.reporting.turn()
        assert site.reporting.trouble == "report-refused"
        heard.status = 200
        site.reporting.turn()
        assert site.reporting.trouble == ""
        assert [len(report.windows) for report in sent(heard)] == [0, 1, 1, 1, 0]
        assert [row["kept_at"] for row in site.windows()] == [None]
        site.close()


def sent(heard: Heard) -> list[Report]:
    return [Report.model_validate_json(body.split(b"\n\n", 1)[-1]) for body in heard.bodies if body.startswith(b"POST /report")]


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"version": 2}', b"[" * 100_000, b'{"now": 1}' + b" " * 2_000_000])
def test_whatever_the_hub_answers_reports_go_on(tmp_path: Path, answer: bytes) -> None:
    authority = Authority(tmp_path / "authority")
    with ear(authority) as heard:
        site = joined(tmp_path, authority, heard)
        good, heard.answer = heard.answer, answer
        pauses = [site.reporting.turn() for _ in range(3)]
        assert site.reporting.trouble == "hub-answer"
        assert 0 < min(pauses) < max(pauses) <= 600
        heard.answer = good
        site.reporting.turn()
        assert site.reporting.trouble == ""
        site.close()
