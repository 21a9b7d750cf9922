"""Anonymised uploads: what was sent is nowhere on the disk, in the database, in the log or in an answer."""

from pathlib import Path

import httpx
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage
from server_node import Node, encode, phantom_datasets
from test_server_pages import zipped

from pneumoscope.store import studies

SECRET = "5e" * 32
PATIENCE_S = 240
STUDY = "1.2.777.1"
NAMES = {"PatientName": "Geheim^Anna", "PatientID": "SECRET-77", "PatientBirthDate": "19770707", "AccessionNumber": "ACC-777"}
TRACES = [value.encode() for value in (*NAMES.values(), STUDY)]


def identified(number: int) -> bytes:
    dataset = phantom_datasets()[number]
    for keyword, value in NAMES.items():
        setattr(dataset, keyword, value)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.1.{number}"
    return encode(dataset)


def post(node: Node, *contents: bytes, secret: str = SECRET, anonymise: str = "yes") -> httpx.Response:
    files = [("files", ("x", content)) for content in contents]
    return httpx.post(f"{node.url}/upload", data={"secret": secret, "anonymise": anonymise}, files=files, timeout=PATIENCE_S)


def traces(folder: Path) -> set[tuple[str, bytes]]:
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {(str(path), trace) for trace in TRACES if trace in content or trace in str(path).encode()}
    return found


def test_nothing_of_what_was_sent_is_kept(node: Node) -> None:
    capture = phantom_datasets()[5]
    capture.PatientName, capture.SOPClassUID = NAMES["PatientName"], SecondaryCaptureImageStorage
    answers = [
        post(node, identified(1), identified(2), encode(capture), b"Geheim^Anna"),
        post(node, zipped(identified(3), identified(4), encode(capture))),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    first, second = (answer.json() for answer in answers)
    assert first["outcomes"] == {"filed": 2, "left out": 2}
    assert first["codes"] == {"not-anonymised": 1, "not-dicom": 1}
    assert second["outcomes"] == {"filed": 2, "left out": 1}
    assert first["studies"] == second["studies"]  # one secret, one study
    assert not any(trace in answer.content for answer in answers for trace in TRACES)
    assert traces(node.settings.node.folder) == set()
    assert not any(trace in node.log.read_bytes() for trace in TRACES)
    (study,) = first["studies"]
    details = [entry["detail"] for entry in node.audit() if entry["StudyInstanceUID"] == study and entry["action"] == "upload"]
    assert details == ["2 objects, anonymised."] * 2
    kept = list((node.settings.objects / "studies" / study).rglob("*.dcm"))
    assert len(kept) == 4
    assert {dcmread(path, stop_before_pixels=True).PatientIdentityRemoved for path in kept} == {"YES"}


def test_without_a_secret_the_files_of_one_request_stay_one_study(node: Node) -> None:
    files = [("files", ("x", identified(number))) for number in (7, 8)]
    found = httpx.post(f"{node.url}/upload", data={"anonymise": "yes"}, files=files, timeout=PATIENCE_S).json()
    assert found["outcomes"] == {"filed": 2}
    assert len(found["studies"]) == 1


def test_the_search_for_traces_finds_some(node: Node, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(identified(1))
    assert {trace for _, trace in traces(tmp_path)} == set(TRACES)


def test_what_is_meant_to_be_anonymised_is_never_stored_otherwise(node: Node) -> None:
    before = len(list(node.settings.objects.rglob("*.dcm")))
    assert post(node, identified(1), anonymise="true").json()["code"] == "field-wrong"
    assert post(node, identified(1), secret="short").json()["code"] == "secret-wrong"
    late = [("files", ("x", identified(1))), ("anonymise", (None, "yes"))]
    assert httpx.post(f"{node.url}/upload", files=late, timeout=PATIENCE_S).json()["code"] == "field-late"
    zip_type = {"Content-Type": "application/zip"}
    assert (
        httpx.post(
            f"{node.url}/upload?anonymise=1", content=zipped(identified(1)), headers=zip_type, timeout=PATIENCE_S
        ).status_code
        == 400
    )
    by_query = httpx.post(
        f"{node.url}/upload?anonymise=yes", content=zipped(identified(6)), headers=zip_type, timeout=PATIENCE_S
    )
    assert by_query.json()["outcomes"] == {"filed": 1}
    assert len(list(node.settings.objects.rglob("*.dcm"))) == before + 1
    assert traces(node.settings.node.folder) == set()


def test_the_state_of_a_study_is_told_without_its_patient(node: Node) -> None:
    study = next(iter(node.datasets.values())).StudyInstanceUID
    found = httpx.get(f"{node.url}/api/studies/{study}/state").json()
    assert set(found) == {"state", "code", "message", "headline", "settled"}
    assert found["headline"].startswith("Sign of pneumonia of the COVID-19 pattern: ")
    german = httpx.get(f"{node.url}/api/studies/{study}/state", headers={"Accept-Language": "de"}).json()
    assert german["headline"].startswith("Zeichen einer Pneumonie mit COVID-19-typischem Muster: ")
    assert httpx.get(f"{node.url}/api/studies/1.2.3/state").status_code == 404


def test_a_study_waits_for_the_next_part_of_its_upload(node: Node) -> None:
    def send(number: int, **fields: str) -> str:
        dataset = phantom_datasets()[number]
        dataset.PatientName, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "Parts", "2.25.950", "2.25.950.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.950.1.{number}"
        answer = httpx.post(
            f"{node.url}/upload", data={"secret": "77" * 32, **fields}, files=[("files", ("x", encode(dataset)))]
        )
        return answer.json()["studies"][0]

    def waits_for_a_sender() -> bool:
        with node.store.database.look() as db:
            return {found.StudyInstanceUID: found.open_arrivals for found in studies.arriving(db)}["2.25.950"] > 0

    assert send(1, more="yes") == "2.25.950"
    assert waits_for_a_sender()
    send(2, more="yes")
    assert waits_for_a_sender()
    send(3)
    assert not waits_for_a_sender()
