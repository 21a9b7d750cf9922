"""An orchestrator elsewhere and the node: work items asked for by UPS-RS, carried out, and told of over a websocket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydicom.uid import generate_uid
from test_path import read
from websockets.sync.client import ClientConnection, connect

from pneumoscope.dicomjson import Json, text, values
from pneumoscope.store.subscriptions import EVERYTHING
from servers import Node, node
from workitem_maker import wish

_SEG, _SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("site"), "\n[arrival]\nquiet_s = 2\n") as started:
        yield started


def create(running: Node, study: str, **changes: object) -> str:
    uid = generate_uid(prefix=None)
    url = f"{running.url}/dicom-web/workitems?workitem={uid}"
    answer = httpx.post(
        url, content=json.dumps([wish(study=study, **changes)]), headers={"Content-Type": "application/dicom+json"}
    )
    assert answer.status_code == 201, answer.text
    return uid


def get(running: Node, uid: str) -> Json:
    return httpx.get(f"{running.url}/dicom-web/workitems/{uid}").json()[0]


@contextmanager
def subscribed(running: Node, target: str, ae_title: str) -> Iterator[ClientConnection]:
    answer = httpx.post(f"{running.url}/dicom-web/workitems/{target}/subscribers/{ae_title}")
    assert answer.status_code == 201, answer.text
    with connect(answer.headers["content-location"]) as channel:
        yield channel


def states(channel: ClientConnection, uid: str = "") -> list[tuple[str, str]]:
    """(work item, state) of each state report, until one (``uid``) ends."""
    found: list[tuple[str, str]] = []
    while not found or found[-1][1] not in ("COMPLETED", "CANCELED") or (uid and found[-1][0] != uid):
        event = json.loads(channel.recv(timeout=120))
        if values(event, "EventTypeID") == [1]:
            found.append((text(event, "AffectedSOPInstanceUID"), text(event, "ProcedureStepState")))
    return found


def outputs(item: Json) -> list[Json]:
    return values(values(item, "UnifiedProcedureStepPerformedProcedureSequence")[0], "OutputInformationSequence")


def test_a_work_item_that_waits_for_its_study_is_completed_with_results_that_can_be_had(
    running: Node, own_study: tuple[Path, str]
) -> None:
    folder, study = own_study
    uid = create(running, study)
    with subscribed(running, uid, "ORCHESTRATOR") as channel:
        running.send(folder)
        assert states(channel) == [(uid, "SCHEDULED"), (uid, "IN PROGRESS"), (uid, "COMPLETED")]
    item = get(running, uid)
    results = {
        text(reference, "ReferencedSOPInstanceUID"): text(reference, "ReferencedSOPClassUID")
        for series in outputs(item)
        for reference in values(series, "ReferencedSOPSequence")
    }
    assert {_SEG, _SR} < set(results.values())
    for series in outputs(item):
        place = text(values(series, "WADORSRetrievalSequence")[0], "RetrieveURL")
        answer = httpx.get(place, headers={"Accept": 'multipart/related; type="application/dicom"'}, timeout=60)
        assert answer.status_code == 200
        for reference in values(series, "ReferencedSOPSequence"):
            assert text(reference, "ReferencedSOPInstanceUID").encode() in answer.content
    # one reading, one work item: the node did not list the same work once more as its own
    found = httpx.get(f"{running.url}/dicom-web/workitems", params={"InputInformationSequence.StudyInstanceUID": study})
    assert [text(each, "SOPInstanceUID") for each in found.json()] == [uid]

    # asked again for the same images, the node points to what it has made of them
    second = create(running, study)
    with subscribed(running, second, "ORCHESTRATOR") as channel:
        assert states(channel, second)[-1] == (second, "COMPLETED")
    assert outputs(get(running, second)) == outputs(item)
    assert [reading["version"] for reading in running.study(study)["readings"]] == [1]


def test_what_the_node_does_by_itself_is_on_its_worklist_too(running: Node, own_study: tuple[Path, str]) -> None:
    folder, study = own_study
    with subscribed(running, EVERYTHING, "WATCHER") as channel:
        running.send(folder)
        found = states(channel)
    assert [state for _, state in found] == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    item = get(running, found[0][0])
    assert {text(series, "StudyInstanceUID") for series in outputs(item)} == {study}
    assert httpx.post(f"{running.url}/dicom-web/workitems/{found[0][0]}/cancelrequest").status_code == 409


def test_what_cannot_be_read_or_names_no_study_is_canceled_with_its_reason(running: Node, own_study: tuple[Path, str]) -> None:
    folder, study = own_study
    for file in sorted(folder.iterdir())[5:]:
        file.unlink()
    running.send(folder)
    assert read(running, study)["state"] == "refused"
    for uid, reason in (
        (create(running, study), "at least 10 are needed"),
        (create(running, study, InputInformationSequence=None), "has to name one study"),
    ):
        with subscribed(running, uid, "ORCHESTRATOR") as channel:
            assert states(channel, uid)[-1] == (uid, "CANCELED")
        step = values(get(running, uid), "ProcedureStepProgressInformationSequence")[0]
        assert reason in text(step, "ReasonForCancellation")
        assert values(step, "ProcedureStepDiscontinuationReasonCodeSequence")
