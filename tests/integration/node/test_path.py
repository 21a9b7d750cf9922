"""The whole path with real peers: dcmtk sends, the node reads, Orthanc gets the results, an orchestrator asks for them."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from websockets.sync.client import ClientConnection, connect

from collector import Collector, attributes
from pneumoscope.config import load_settings
from pneumoscope.dicomjson import Json, text, values
from pneumoscope.hub.authority import Authority
from pneumoscope.member import membership
from pneumoscope.member.membership import Facts
from pneumoscope.store import now
from pneumoscope.store.subscriptions import EVERYTHING
from servers import Node, Orthanc, wait_for
from workitem_maker import wish

_SEG, _SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"

Running = tuple[Node, Orthanc]


def read(running: Node, uid: str, *, version: int = 1, seconds: float = 240) -> dict:
    """The study once this version of its reading is over."""

    def over() -> dict | None:
        found = [study for study in running.studies() if study["StudyInstanceUID"] == uid]
        done = found and found[0]["state"] in ("read", "refused", "failed") and found[0]["version"] == version
        return found[0] if done else None

    return wait_for(over, seconds=seconds, what=f"version {version} of the study")


def deliveries(running: Node, uid: str) -> list[dict]:
    return [delivery for reading in running.study(uid)["readings"] for delivery in reading["deliveries"]]


def confirmed(running: Node, uid: str, *, seconds: float = 240) -> list[dict]:
    def done() -> list[dict]:
        found = deliveries(running, uid)
        return found if found and all(each["state"] == "confirmed" for each in found) else []

    return wait_for(done, seconds=seconds, what="confirmed deliveries")


def expected(running: Node, uid: str) -> list[str]:
    """SOP Instance UIDs of the results that the node has stored."""
    return sorted(
        parcel["SOPInstanceUID"]
        for reading in running.study(uid)["readings"]
        for parcel in reading["results"]
        if parcel["SOPInstanceUID"]
    )


def test_a_study_sent_by_dcmtk_is_read_and_its_results_are_vouched_for_by_the_pacs(
    running_site: Running, own_study: tuple[Path, str]
) -> None:
    (running, pacs), (folder, uid) = running_site, own_study
    running.send(folder)
    found = read(running, uid)
    assert found["state"] == "read", found
    assert found["headline"].startswith("Sign of pneumonia")
    confirmed(running, uid)
    results = expected(running, uid)
    assert pacs.objects(uid) == results != []

    # results of ours that come back cause nothing, nor do images that come again
    httpx.put(f"{pacs.url}/modalities/PNEUMOSCOPE", json=["PNEUMOSCOPE", "127.0.0.1", running.dicom_port])
    everything = httpx.get(f"{pacs.url}/instances").json()
    answer = httpx.post(f"{pacs.url}/modalities/PNEUMOSCOPE/store", json=everything, timeout=60)
    assert answer.status_code == 200
    running.send(folder)
    time.sleep(3)  # longer than the quiet period
    assert [reading["version"] for reading in running.study(uid)["readings"]] == [1]
    assert expected(running, uid) == results == pacs.objects(uid)


def test_a_reading_is_one_trace_from_its_first_image_to_the_confirmation_and_tells_nothing_of_the_patient(
    running_site: Running, own_study: tuple[Path, str], traces: Collector
) -> None:
    (running, _), (folder, uid) = running_site, own_study
    planted = {
        "PatientName": "PLANTEDNAME^ANN",
        "PatientID": "PLANTEDID",
        "AccessionNumber": "PLANTEDACC",
        "ReferringPhysicianName": "PLANTEDDOCTOR",
        "StudyDescription": "PLANTEDSTUDY",
        "SeriesDescription": "PLANTEDSERIES",
        "InstitutionName": "PLANTEDHOUSE",
    }
    for file in folder.iterdir():
        image = dcmread(file)
        for keyword, value in planted.items():
            setattr(image, keyword, value)
        image.save_as(file)
    running.send(folder, "-aet", "PLANTEDAE")
    read(running, uid)
    confirmed(running, uid)
    (reading,) = running.study(uid)["readings"]
    trace_id = reading["id"].replace("-", "")

    def steps() -> dict[str, tuple[str, dict]]:
        return {span.name: (process, attributes(span)) for process, span in traces.of(trace_id)}

    wait_for(lambda: {"reading", "deliver", "confirm"} <= steps().keys(), what="the trace")
    told = steps()
    stages = {"find", "load", "segment", "measure", "build", "write"}
    workflow = {"receive", "file", "complete", "queue", "assemble", "read", "settle", "deliver", "reading"}
    assert told.keys() == stages | workflow | {"confirm"}
    assert {name for name, (process, _) in told.items() if process == "receiver"} == {"confirm"}
    spans = {span.name: span for _, span in traces.of(trace_id)}
    roots = {spans["reading"].span_id}
    assert {spans[name].parent_span_id for name in (workflow | {"confirm"}) - {"reading"}} == roots
    assert {spans[name].parent_span_id for name in stages} == {spans["read"].span_id}
    order = ("receive", "file", "queue", "read", "settle", "deliver", "confirm")
    starts = [spans[name].start_time_unix_nano for name in order]
    assert starts == sorted(starts)
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans.values())
    images = len(list(folder.iterdir()))
    assert told["reading"][1] == {
        "pneumoscope.outcome": "read",
        "pneumoscope.version": 1,
        "pneumoscope.attempts": 1,
        "pneumoscope.priority": "routine",
        "pneumoscope.images": images,
        "pneumoscope.model": reading["model"],
    }
    assert told["receive"][1]["pneumoscope.channel"] == "dicom"
    assert (told["deliver"][1]["pneumoscope.destination"], told["deliver"][1]["pneumoscope.attempt"]) == ("pacs", 1)

    secrets = [part.encode() for value in planted.values() for part in value.split("^")]
    secrets += [b"PLANTEDAE", b"PNEUMOSCOPE", b"ORTHANC", uid.encode(), str(running.folder).encode()]
    image = dcmread(next(folder.iterdir()), stop_before_pixels=True)
    secrets += [str(image[keyword].value).encode() for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "PatientBirthDate")]
    assert not [secret for secret in secrets if secret and any(secret in body for body in traces.bodies)]


def test_what_comes_late_makes_a_second_version_that_supersedes_the_first(
    running_site: Running, own_study: tuple[Path, str], tmp_path: Path
) -> None:
    (running, _), (folder, uid) = running_site, own_study
    files = sorted(folder.iterdir())
    early, late = tmp_path / "early", tmp_path / "late"
    for target, part in ((early, files[:30]), (late, files[30:])):
        target.mkdir()
        for file in part:
            (target / file.name).write_bytes(file.read_bytes())
    running.send(early)
    read(running, uid)
    running.send(late)
    read(running, uid, version=2)
    assert [reading["version"] for reading in running.study(uid)["readings"]] == [2, 1]
    reports = [
        next(each["SOPInstanceUID"] for each in reading["results"] if each["name"] == "sr.dcm")
        for reading in running.study(uid)["readings"]
    ]
    headers = {
        each["00080018"]["Value"][0]: each for each in httpx.get(f"{running.url}/dicom-web/studies/{uid}/metadata").json()
    }
    (predecessor,) = headers[reports[0]]["0040A360"]["Value"]
    referenced = predecessor["00081115"]["Value"][0]["00081199"]["Value"][0]
    assert referenced["00081155"]["Value"] == [reports[1]]
    assert "0040A360" not in headers[reports[1]]
    page = httpx.get(f"{running.url}/studies/{uid}").text
    assert page.index("Version 2") < page.index("Version 1") < page.index("superseded")


def test_a_zip_that_a_person_uploads_is_read(running_site: Running, own_study: tuple[Path, str]) -> None:
    (running, _), (folder, uid) = running_site, own_study
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"cd/{file.name}")
    answer = httpx.post(
        f"{running.url}/upload", files={"files": ("study.zip", buffer.getvalue(), "application/zip")}, timeout=60
    )
    assert answer.status_code in (200, 201, 202, 303), answer.text
    assert read(running, uid)["state"] == "read"


def test_what_cannot_be_read_stays_with_its_reason_where_a_person_sees_it(
    running_site: Running, own_study: tuple[Path, str]
) -> None:
    (running, pacs), (folder, uid) = running_site, own_study
    for file in sorted(folder.iterdir())[5:]:
        file.unlink()
    running.send(folder)
    found = read(running, uid)
    assert (found["state"], found["code"]) == ("refused", "too-few-slices")
    assert "at least 10 are needed" in httpx.get(f"{running.url}/studies/{uid}").text
    assert pacs.objects(uid) == []


def test_a_pacs_that_dies_gets_its_results_when_it_is_back(running_site: Running, own_study: tuple[Path, str]) -> None:
    (running, pacs), (folder, uid) = running_site, own_study
    pacs.kill()
    try:
        running.send(folder)
        assert read(running, uid)["state"] == "read"
        waiting = wait_for(
            lambda: [each for each in deliveries(running, uid) if each["code"] == "peer-unreachable"], what="a failed attempt"
        )
        assert waiting[0]["state"] in ("waiting", "sending")
    finally:
        pacs.start()
    confirmed(running, uid)
    assert len(running.study(uid)["readings"]) == 1
    assert pacs.objects(uid) == expected(running, uid) != []


# -- an orchestrator elsewhere: work items asked for by UPS-RS, carried out, and told of over a websocket


@pytest.fixture
def running(running_site: Running) -> Node:
    return running_site[0]


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


def test_a_node_that_joins_a_fleet_while_it_runs_has_a_member_which_is_started_again(
    running_site: Running, tmp_path: Path
) -> None:
    """The last of this module: the hub that it is a member of is away."""
    running, _ = running_site
    assert running.pids("member") == []
    place, authority, site = membership.folder(load_settings(running.config)), Authority(tmp_path / "hub"), str(uuid.uuid4())
    certificate, _, _ = authority.sign_site(membership.request(membership.load_key(place)), site, days=1)
    facts = Facts(site=site, title="a", province="b", reports_url="https://localhost:9", joined_at=now())
    membership.keep(place, facts, certificate=certificate, authority=authority.pem)

    def alive() -> bool:
        told = httpx.get(f"{running.url}/metrics", headers=running.headers).text
        return 'pneumoscope_processes_alive{kind="member"} 1.0' in told

    (first,) = wait_for(lambda: running.pids("member"), seconds=60, what="a member")
    wait_for(alive, seconds=60, what="the member's pulse")
    wait_for(lambda: "A report did not reach the hub" in running.log, seconds=60, what="a try to report")
    running.kill_pid(first)
    wait_for(lambda: set(running.pids("member")) - {first}, seconds=60, what="another member")
    wait_for(alive, seconds=60, what="its pulse")
    assert "A process of the node ended and is started again" in running.log
