"""Answers by form: what is taken, what is told, and who may."""

import httpx
import pytest
from server_node import Node

ZONE = "left_upper_zone"


def send(node: Node, reading_id: str = "", **fields: object) -> httpx.Response:
    return httpx.post(f"{node.url}/readings/{reading_id or node.reading_id}/review", data=fields, timeout=30)


def answers(node: Node) -> list[dict]:
    (study,) = {dataset.StudyInstanceUID for dataset in node.datasets.values()}
    found = httpx.get(f"{node.url}/api/studies/{study}", timeout=30).json()["readings"]
    return [answer for reading in found for answer in reading["answers"]]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "none of accept, modify and reject"),
        ({"judgement": "maybe"}, "not allowed"),
        ({"judgement": "reject"}, "for a reason"),
        ({"judgement": "reject", "objection": "tired"}, "not allowed"),
        ({"judgement": "reject", "objection": "other", "text": "  "}, "in words"),
        ({"judgement": "reject", "objection": "other", "text": "a\x00b"}, "control characters"),
        ({"judgement": "reject", "objection": "other", "text": "x" * 2001}, "at most 2000"),
        ({"judgement": "modify", "objection": "wrong extent"}, "Nothing is corrected"),
        ({"judgement": "modify", "objection": "wrong extent", "added": "heart"}, "no zone"),
        ({"judgement": "modify", "objection": "wrong extent", "added": ZONE, "removed": ZONE}, "both added and removed"),
    ],
)
def test_half_an_answer_is_not_taken(node: Node, fields: dict[str, str], sentence: str) -> None:
    before = answers(node)
    answer = send(node, **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, "answer-incomplete")
    assert sentence in answer.json()["message"]
    assert answers(node) == before


def test_a_body_that_is_too_long_or_of_untold_length_is_not_read(node: Node) -> None:
    assert send(node, judgement="accept", text="x" * 70_000).status_code == 413
    url = f"{node.url}/readings/{node.reading_id}/review"
    assert httpx.post(url, content=iter([b"judgement=accept"]), timeout=30).status_code == 413


def test_another_site_cannot_answer(node: Node) -> None:
    url = f"{node.url}/readings/{node.reading_id}/review"
    answer = httpx.post(url, data={"judgement": "accept"}, headers={"Sec-Fetch-Site": "cross-site"}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")


def test_an_answer_is_kept_once_noted_and_shown(node: Node) -> None:
    fields = {"judgement": "reject", "objection": "false lesion", "text": "<b>Gefäß</b>"}
    for _ in range(2):
        told = send(node, **fields)
        assert (told.status_code, told.headers["location"].partition("?")[2]) == (303, "answered=1#answers")
    assert [answer["text"] for answer in answers(node)].count(fields["text"]) == 1
    assert [row["detail"] for row in node.audit() if row["action"] == "review"] == ["Version 1: reject."]
    page = httpx.get(f"{node.url}{told.headers['location']}", timeout=30).text
    assert "Your answer to version 1 is kept." in page
    assert "&lt;b&gt;Gefäß&lt;/b&gt;" in page


def test_who_answers_a_version_that_was_superseded_meanwhile_is_told(node: Node) -> None:
    (study,) = {dataset.StudyInstanceUID for dataset in node.datasets.values()}
    with node.store.database.begin() as db:
        from pneumoscope.store import studies

        studies.read_again(db, study)
        waiting = studies.get(db, study)
    assert waiting["state"] == "waiting"
    answer = send(node, judgement="accept")
    assert answer.headers["location"].endswith("?answered=1#answers")
    finish_waiting(node, study)
    answer = send(node, judgement="modify", objection="missed lesion", added=ZONE)
    assert answer.headers["location"].endswith("?answered=1&superseded=2#answers")
    assert "Version 2 has superseded it meanwhile" in httpx.get(f"{node.url}{answer.headers['location']}", timeout=30).text


def finish_waiting(node: Node, study: str) -> None:
    from pneumoscope.store import readings

    with node.store.database.begin() as db:
        last = readings.versions(db, study)[0]["id"]
        readings.start(db, last, process_id="worker-x")
        summary = readings.Summary(
            probability=0.5, category="indeterminate", headline="So so.", involved_share=0.1, model="m 1", device_uid="2.25.1"
        )
        readings.finish(db, last, summary=summary, parcels=[])


def test_no_reading_no_answer(node: Node) -> None:
    answer = send(node, "0f9f0a4e-0000-4000-8000-000000000000", judgement="accept")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-reading")


@pytest.mark.parametrize("query", ["", "?by=week", "?by=century&model=lung-lesion%200.1.0", "?model=none"])
def test_agreement_is_told_for_each_model_and_period(node: Node, query: str) -> None:
    send(node, judgement="accept")
    answer = httpx.get(f"{node.url}/agreement{query}", timeout=30)
    assert answer.status_code == 200
    assert ("No reading has been answered" in answer.text) == ("none" in query)
