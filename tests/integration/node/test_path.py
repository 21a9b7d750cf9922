"""The whole path with real peers: dcmtk sends, the node reads, Orthanc gets the results."""

import io
import time
import uuid
import zipfile
from pathlib import Path

import httpx

from pneumoscope.config import load_settings
from pneumoscope.hub.authority import Authority
from pneumoscope.member import membership
from pneumoscope.member.membership import Facts
from pneumoscope.store import now
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
