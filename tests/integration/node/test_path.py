"""The whole path with real peers: dcmtk sends, the node reads, Orthanc gets the results."""

import io
import time
import zipfile
from pathlib import Path

import httpx
from pydicom import dcmread

from collector import Collector, attributes
from servers import Node, Orthanc, wait_for

Running = tuple[Node, Orthanc]


def read(running: Node, uid: str, *, version: int = 1, seconds: float = 60) -> dict:
    """The study once this version of its reading is over."""

    def over() -> dict | None:
        found = [study for study in running.studies() if study["StudyInstanceUID"] == uid]
        done = found and found[0]["state"] in ("read", "refused", "failed") and found[0]["version"] == version
        return found[0] if done else None

    return wait_for(over, seconds=seconds, what=f"version {version} of the study")


def deliveries(running: Node, uid: str) -> list[dict]:
    return [delivery for reading in running.study(uid)["readings"] for delivery in reading["deliveries"]]


def confirmed(running: Node, uid: str, *, seconds: float = 60) -> list[dict]:
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
