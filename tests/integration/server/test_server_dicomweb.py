"""DICOMweb of a real server, asked by dicomweb-client and by hand."""

import json
from io import BytesIO

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset
from requests import HTTPError
from server_node import NAME, SLICES, Node, encode, file_objects, phantom_datasets


@pytest.fixture(scope="module")
def client(node: Node) -> DICOMwebClient:
    return DICOMwebClient(node.root)


@pytest.fixture(scope="module")
def first(node: Node) -> Dataset:
    return next(iter(node.datasets.values()))


def uids(dataset: Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def instance_url(node: Node, dataset: Dataset) -> str:
    study, series, instance = uids(dataset)
    return f"{node.root}/studies/{study}/series/{series}/instances/{instance}"


def test_a_study_is_found_by_each_key(client: DICOMwebClient, first: Dataset) -> None:
    for key, value in {
        "PatientName": "yamada*",
        "PatientID": "P-?_x",
        "StudyDate": "20200201-20200401",
        "StudyTime": "10-11",
        "StudyInstanceUID": f"1.2.3,{first.StudyInstanceUID}",
        "ModalitiesInStudy": "CT",
        "StudyDescription": "CT*",
        "00100020": "P-1_x",
    }.items():
        found = client.search_for_studies(search_filters={key: value})
        assert first.StudyInstanceUID in [item["0020000D"]["Value"][0] for item in found], key
    for key, value in {
        "PatientName": "山田^次郎",
        "PatientID": "p-1_x",
        "StudyDate": "-20200229",
        "StudyTime": "11-",
        "ModalitiesInStudy": "MR",
    }.items():
        found = client.search_for_studies(search_filters={key: value})
        assert first.StudyInstanceUID not in [item["0020000D"]["Value"][0] for item in found], key


def test_what_a_study_says_of_itself(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    (found,) = client.search_for_studies(search_filters={"PatientName": "山田^太郎"})
    dataset = Dataset.from_json(found)
    assert str(dataset.PatientName) == NAME
    assert found["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert dataset.NumberOfStudyRelatedInstances == SLICES
    assert dataset.NumberOfStudyRelatedSeries == 1
    assert dataset.ModalitiesInStudy == "CT"
    found = httpx.get(f"{node.root}/studies", params={"StudyInstanceUID": first.StudyInstanceUID}).json()[0]
    assert found["00081190"]["Value"] == [f"{node.root}/studies/{first.StudyInstanceUID}"]


def test_series_and_instances_are_found_at_every_level(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    study, series, _ = uids(first)
    (found,) = client.search_for_series(study)
    assert Dataset.from_json(found).NumberOfSeriesRelatedInstances == SLICES
    assert series in [Dataset.from_json(item).SeriesInstanceUID for item in client.search_for_series()]
    assert len(client.search_for_instances(study, series)) == SLICES
    assert len(client.search_for_instances(study)) == SLICES
    pages = [client.search_for_instances(study, series, limit=10, offset=offset) for offset in (0, 10, 20)]
    numbers = [item["00200013"]["Value"][0] for page in pages for item in page]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == SLICES
    assert client.search_for_instances(study, search_filters={"InstanceNumber": 3})[0]["00200013"]["Value"] == [3]
    with_position = client.search_for_instances(study, series, fields=["ImagePositionPatient"], limit=3)
    assert all(len(item["00200032"]["Value"]) == 3 for item in with_position)


def test_an_empty_search_has_no_content_and_what_is_not_matched_is_said(node: Node) -> None:
    answer = httpx.get(f"{node.root}/studies", params={"PatientID": "nobody"})
    assert (answer.status_code, answer.content) == (204, b"")
    answer = httpx.get(f"{node.root}/studies", params={"fuzzymatching": "true", "OperatorsName": "x"})
    assert "fuzzymatching" in answer.headers["warning"]
    assert "not matched" in answer.headers["warning"]


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=x", "StudyDate=2020x", "StudyDate=20200101-20200102-20200103", "PatientID=%00", "SeriesNumber=a"],
)
def test_a_malformed_search_is_refused(node: Node, query: str) -> None:
    answer = httpx.get(f"{node.root}/series?{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "query-wrong"


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/studies", "application/dicom+xml"),
        ("/studies", 'multipart/related; type="application/dicom+xml"'),
        ("{instance}/metadata", "text/html"),
        ("{instance}", "image/jpeg"),
        ("{instance}", 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50'),
        ("{instance}/frames/1", 'multipart/related; type="image/jls"'),
        ("{instance}/rendered", "image/gif, image/png;q=0"),
    ],
)
def test_what_cannot_be_had_in_the_form_asked_for(node: Node, first: Dataset, path: str, accept: str) -> None:
    url = node.root + path.replace("{instance}", instance_url(node, first).removeprefix(node.root))
    answer = httpx.get(url, headers={"Accept": accept})
    assert answer.status_code == 406, answer.text


def test_objects_come_back_as_they_were_filed(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    study, series, instance = uids(first)
    for got in (client.retrieve_study(study), client.retrieve_series(study, series)):
        assert {dataset.SOPInstanceUID for dataset in got} == set(node.datasets)
    one = client.retrieve_instance(study, series, instance)
    assert one.PixelData == first.PixelData
    single = httpx.get(instance_url(node, first), headers={"Accept": "application/dicom"})
    assert single.headers["content-type"].startswith("application/dicom")
    assert single.content == encode(first)


def test_headers_hold_everything_but_pixels(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    study, series, instance = uids(first)
    assert client.retrieve_instance_metadata(study, series, instance)["00080018"]["Value"] == [instance]
    header = httpx.get(f"{instance_url(node, first)}/metadata").json()[0]
    assert header["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{instance_url(node, first)}/bulkdata/7FE00010"}
    back = Dataset.from_json({key: value for key, value in header.items() if "BulkDataURI" not in value})
    for element in first:
        if element.tag not in (0x7FE00010, 0x00091010):
            assert back[element.tag].value == element.value, element.tag
    assert len(client.retrieve_study_metadata(study)) == len(client.retrieve_series_metadata(study, series)) == SLICES


def test_bulk_data_are_where_the_header_says(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    header = httpx.get(f"{instance_url(node, first)}/metadata").json()[0]
    assert client.retrieve_bulkdata(header["00091010"]["BulkDataURI"]) == [first[0x00091010].value]
    assert client.retrieve_bulkdata(header["7FE00010"]["BulkDataURI"]) == [first.PixelData]
    for wrong, status in (("00091011", 404), ("00080016", 404), ("00091010/0/00091010", 404)):
        assert httpx.get(f"{instance_url(node, first)}/bulkdata/{wrong}").status_code == status


def test_frames_are_the_pixels(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    (frame,) = client.retrieve_instance_frames(*uids(first), frame_numbers=[1])
    assert frame == first.PixelData
    (frame,) = client.retrieve_instance_frames(
        *uids(first), frame_numbers=[1], media_types=(("application/octet-stream", "1.2.840.10008.1.2.1"),)
    )
    assert frame == first.PixelData
    for numbers, status in (("2", 404), ("0", 404), ("x", 400), ("1,", 400)):
        assert httpx.get(f"{instance_url(node, first)}/frames/{numbers}").status_code == status


def test_a_picture_has_the_window_asked_for(client: DICOMwebClient, node: Node, first: Dataset) -> None:
    png = client.retrieve_instance_rendered(
        *uids(first), media_types=("image/png",), params={"window": "40,400,linear", "viewport": "64,64"}
    )
    image = Image.open(BytesIO(png))
    assert (image.format, image.size, image.mode) == ("PNG", (64, 64), "L")
    url = f"{instance_url(node, first)}/rendered"
    png = httpx.get(url, headers={"Accept": "image/png"}, params={"window": "-600,1500,linear"}).content
    hu = first.pixel_array.astype(float) - 1024
    expected = np.clip((hu + 600.5) / 1499 + 0.5, 0, 1) * 255
    assert np.abs(np.asarray(Image.open(BytesIO(png)), float) - expected).max() <= 0.51
    jpeg = httpx.get(f"{instance_url(node, first)}/frames/1/rendered", params={"quality": "30"})
    assert Image.open(BytesIO(jpeg.content)).format == "JPEG"
    study, series, _ = uids(first)
    for place in (f"/studies/{study}", f"/studies/{study}/series/{series}"):
        small = Image.open(BytesIO(httpx.get(f"{node.root}{place}/thumbnail").content))
        assert max(small.size) == 128


@pytest.mark.parametrize(
    "query",
    [
        "window=1",
        "window=a,b,linear",
        "window=1,0,linear",
        "window=1,2,cubic",
        "viewport=9999999,3",
        "viewport=5",
        "window=nan,1",
    ],
)
def test_a_picture_that_cannot_be_made_is_refused(node: Node, first: Dataset, query: str) -> None:
    assert httpx.get(f"{instance_url(node, first)}/rendered?{query}").status_code == 400


SYNTAXES = {
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.2": "application/octet-stream",
    "1.2.840.10008.1.2": "application/octet-stream",
    "1.2.840.10008.1.2.1.99": "application/octet-stream",
}


@pytest.fixture(scope="module")
def compressed(node: Node) -> dict[str, Dataset]:
    found = {}
    for number, syntax in enumerate(SYNTAXES, start=1):
        dataset = phantom_datasets()[number]
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.77", f"2.25.77.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.77.{number}.1"
        plain = dataset.PixelData
        if pydicom.uid.UID(syntax).is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        elif syntax == "1.2.840.10008.1.2.2":
            dataset = big_endian(dataset)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        dataset.plain = plain
        found[syntax] = dataset
    file_objects(node.store, list(found.values()), settings=node.settings)
    return found


def big_endian(dataset: Dataset) -> Dataset:
    """As a big-endian file would be read."""
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_compressed_frames_come_as_stored_or_decoded(node: Node, compressed: dict[str, Dataset], syntax: str) -> None:
    dataset = compressed[syntax]
    url = instance_url(node, dataset)
    stored = httpx.get(f"{url}/frames/1", headers={"Accept": SYNTAXES[syntax]})
    assert stored.status_code == 200, stored.text
    assert stored.headers["content-type"].startswith(SYNTAXES[syntax])
    if pydicom.uid.UID(syntax).is_encapsulated:
        assert f"transfer-syntax={syntax}" in stored.headers["content-type"]
        assert stored.content == next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    asked = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
    client = DICOMwebClient(node.root)
    (frame,) = client.retrieve_instance_frames(
        *uids(dataset), frame_numbers=[1], media_types=(("application/octet-stream", "1.2.840.10008.1.2.1"),)
    )
    assert frame == dataset.plain, asked
    picture = httpx.get(f"{url}/rendered", headers={"Accept": "image/png"})
    assert Image.open(BytesIO(picture.content)).size == (128, 128)
    whole = httpx.get(url, headers={"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"})
    assert whole.status_code == 200
    explicit = pydicom.dcmread(BytesIO(whole.content))
    assert explicit.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert explicit.PixelData == dataset.plain
    assert explicit.SOPInstanceUID == dataset.SOPInstanceUID
    assert httpx.get(f"{url}/metadata").json()[0]["7FE00010"]["BulkDataURI"]
    everything = client.retrieve_study("2.25.77", media_types=(("application/dicom", "1.2.840.10008.1.2.1"),))
    assert {item.SOPInstanceUID: item.PixelData for item in everything} == {
        item.SOPInstanceUID: item.plain for item in compressed.values()
    }


def test_headers_of_300_slices_come_all_and_again(node: Node) -> None:
    (one,) = phantom_datasets()[:1]
    one.PixelData = one.PixelData[:128]
    one.Rows = one.Columns = 8
    datasets = []
    for number in range(300):
        copy = pydicom.dcmread(BytesIO(encode(one)))
        copy.StudyInstanceUID, copy.SeriesInstanceUID = "2.25.300", "2.25.300.1"
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = f"2.25.300.1.{number}"
        copy.InstanceNumber = number
        datasets.append(copy)
    file_objects(node.store, datasets, settings=node.settings)
    url = f"{node.root}/studies/2.25.300/series/2.25.300.1/metadata"
    first = httpx.get(url, timeout=30).content
    assert len(json.loads(first)) == 300
    assert httpx.get(url, timeout=30).content == first


def test_damaged_files_cost_no_more_than_their_own_request(node: Node) -> None:
    dataset = phantom_datasets()[9]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.66", "2.25.66.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.66.1.1"
    file_objects(node.store, [dataset], settings=node.settings)
    (path,) = node.store.files.root.glob("studies/2.25.66/2.25.66.1/*")
    path.write_bytes(path.read_bytes()[:-1000])
    url = f"{node.root}/studies/2.25.66/series/2.25.66.1/instances/2.25.66.1.1"
    for place in ("/frames/1", "/rendered"):
        answer = httpx.get(url + place)
        assert (answer.status_code, answer.json()["code"]) == (500, "unreadable-object")
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 500)
    assert httpx.get(f"{url}/metadata").json()[0]["00080018"]["Value"]
    path.unlink()
    assert httpx.get(url).status_code == 410
    assert httpx.get(f"{url}/frames/1").status_code == 410


def fresh(number: int, *, study: str) -> Dataset:
    dataset = phantom_datasets()[0]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
    dataset.InstanceNumber = number
    return dataset


def test_objects_are_stored_and_found(client: DICOMwebClient, node: Node) -> None:
    answer = client.store_instances([fresh(number, study="2.25.500") for number in (1, 2, 3)])
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [f"2.25.500.1.{n}" for n in (1, 2, 3)]
    assert "FailedSOPSequence" not in answer
    assert len(client.search_for_instances("2.25.500")) == 3
    assert client.retrieve_instance("2.25.500", "2.25.500.1", "2.25.500.1.2").InstanceNumber == 2
    assert [
        entry["detail"] for entry in node.audit() if entry["StudyInstanceUID"] == "2.25.500" and entry["action"] == "upload"
    ]
    assert not list(node.settings.spool.glob("*/*"))


def body(*parts: bytes, boundary: str = "b", media_type: str = "application/dicom") -> bytes:
    head = f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--".encode()


def post(node: Node, content: bytes, *, path: str = "/studies", **headers: str) -> httpx.Response:
    given = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    return httpx.post(node.root + path, content=content, headers=given | headers)


def test_an_object_of_another_study_is_refused(node: Node) -> None:
    own, other = encode(fresh(1, study="2.25.501")), encode(fresh(1, study="2.25.502"))
    answer = post(node, body(own, other), path="/studies/2.25.501")
    assert answer.status_code == 202
    assert answer.json()["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xA900]}}]
    assert post(node, body(other), path="/studies/2.25.501").status_code == 409


def test_malformed_stores_are_refused(node: Node) -> None:
    whole = encode(fresh(1, study="2.25.503"))
    assert post(node, body(whole), **{"Content-Type": "application/dicom"}).status_code == 415
    assert post(node, body(whole), **{"Content-Type": 'multipart/related; type="application/dicom"'}).status_code == 400
    assert post(node, body(whole), **{"Content-Encoding": "gzip"}).status_code == 415
    assert post(node, body(whole)[:-50]).json()["code"] == "body-ends-early"
    assert post(node, b"").json()["code"] == "body-ends-early"
    assert post(node, b"--b--").json()["code"] == "no-objects"
    assert post(node, b"--b\r\n" + b"x" * 40_000).json()["code"] == "part-header-wrong"
    assert post(node, body(whole, media_type="text/plain")).status_code == 409
    assert not list(node.store.files.root.glob("studies/2.25.503/*"))
    assert not list(node.settings.spool.glob("*/*"))


def test_errors_say_nothing_of_patients(node: Node, client: DICOMwebClient) -> None:
    for path in ("/studies/1.2.3", "/studies/1.2.3/metadata", "/studies/Yamada", "/nothing/Yamada", "/studies?limit=Yamada"):
        answer = httpx.get(node.root + path)
        assert answer.status_code in (400, 404)
        assert "Yamada" not in answer.text
        assert set(answer.json()) == {"code", "message"}
    with pytest.raises(HTTPError):
        client.retrieve_study("1.2.3")
    assert json.dumps(node.audit(), default=str).count("Yamada") == 0
