"""Pages, programs' interface, upload, health and metrics of a real server."""

import base64
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle
from prometheus_client.parser import text_string_to_metric_families
from server_node import NAME, Node, encode, file_objects, make_store, phantom_datasets, refuse_reading, start, stop

from pneumoscope.store import processes, studies


@pytest.fixture(scope="module")
def study(node: Node) -> str:
    return next(iter(node.datasets.values())).StudyInstanceUID


@pytest.fixture(scope="module")
def refused(node: Node) -> str:
    dataset = phantom_datasets()[0]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.900", "2.25.900.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.900.1.1"
    dataset.PatientName = "<script>alert(1)</script>^X"
    file_objects(node.store, [dataset], settings=node.settings)
    refuse_reading(node.store, "2.25.900")
    return "2.25.900"


def test_the_list_shows_good_and_bad_alike(node: Node, refused: str) -> None:
    page = httpx.get(f"{node.url}/").text
    for text in ("Yamada Tarou", "山田 太郎", "P-1_x", "score 0.83", "12 % of the lungs", "not delivered"):
        assert text in page, text
    assert "1 slice; at least 20 are needed." in page
    assert "The destination refused the objects." in page
    assert f'action="/deliveries/{node.delivery_id}/resend"' in page
    assert f'action="/studies/{refused}/read"' in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Yamada" not in httpx.get(f"{node.url}/?state=refused").text
    assert not re.search(r"(src|href|action)=.?(https?:)?//", page)


def test_the_list_says_why_nothing_happens(node: Node, tmp_path: Path) -> None:
    unread, full = "No study is being read", "The disk is nearly full."
    page = httpx.get(f"{node.url}/").text
    assert unread in page
    assert full not in page
    with node.store.database.begin() as db:
        worker = processes.enter(db, "worker")
        processes.beat(db, worker)
    assert unread not in httpx.get(f"{node.url}/").text
    with node.store.database.begin() as db:
        processes.bury(db, worker)
    store = make_store(tmp_path)
    process, url, _ = start(tmp_path, environment={"PNEUMOSCOPE_DISK__WATERMARK": "0.9999"})
    assert full in httpx.get(url).text
    assert stop(process) == 0
    store.database.close()


def test_the_page_of_a_study_has_everything_about_it(node: Node, study: str, refused: str) -> None:
    page = httpx.get(f"{node.url}/studies/{study}").text
    for text in (
        "Version 1",
        f"/readings/{node.reading_id}/report.html",
        f"/readings/{node.reading_id}/result.json",
        "The destination refused the objects.",
        f"/deliveries/{node.delivery_id}/resend",
        "lung-lesion 0.1.0",
        "this machine",
    ):
        assert text in page, text
    assert "Another object came under this UID." in httpx.get(f"{node.url}/studies/{refused}").text
    assert httpx.get(f"{node.url}/studies/1.2.3").status_code == 404


def test_the_viewer_is_made_ready_by_rules_that_the_policy_admits(node: Node, study: str, refused: str) -> None:
    answer = httpx.get(f"{node.url}/studies/{study}")
    (rules,) = re.findall(r'<script type="application/json" id="ahead">(.*?)</script>', answer.text)
    (one,) = json.loads(rules)["prerender"]
    (made_ready,) = re.findall(rf'<a class="[^"]*\b{one["where"]["selector_matches"][1:]}\b[^"]*" href="([^"]*)"', answer.text)
    assert made_ready == f"/viewer/viewer?StudyInstanceUIDs={study}"
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in answer.headers["Content-Security-Policy"]
    assert 'id="ahead"' not in httpx.get(f"{node.url}/studies/{refused}").text


def test_a_page_is_asked_for_in_numbers_that_do_not_grow(node: Node) -> None:
    for odd in ("page=0", "page=999999", "page=-1", "page=x", "state=x", "priority=x", "priority=9", "since=x", "category=x"):
        page = httpx.get(f"{node.url}/?{odd}")
        assert page.status_code == 200, odd
        assert "Yamada" in page.text, odd
    assert "Yamada" not in httpx.get(f"{node.url}/?q={'nobody ' * 50}").text
    assert "Yamada" in httpx.get(f"{node.url}/?q=yamada+P-1_x&state=read&category=").text


def test_a_page_speaks_the_language_that_is_asked_for(node: Node, study: str) -> None:
    for header, cookie, code, word in (
        ("", "", "en", "Studies"),
        ("fr, ko;q=0.8, de;q=0.9", "", "de", "Untersuchungen"),
        ("zh-TW", "", "zh-Hans", "检查列表"),
        ("de", "ko", "ko", "검사 목록"),
        ("de;q=0, x;q=y", "none", "en", "Studies"),
    ):
        page = httpx.get(f"{node.url}/", headers={"Accept-Language": header, "Cookie": f"language={cookie}"})
        assert f'<html lang="{code}"' in page.text
        assert word in page.text
        assert page.headers["content-language"] == code


def test_language_and_theme_are_kept(node: Node) -> None:
    with httpx.Client(base_url=node.url) as browser:
        assert 'href="/static/light.css" id="light" media="not all"' in browser.get("/").text
        answer = browser.post("/comfort", data={"language": "ko", "theme": "light", "back": "/?state=read"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/?state=read")
        assert all("HttpOnly" in cookie and "SameSite=lax" in cookie for cookie in answer.headers.get_list("set-cookie"))
        page = browser.get("/").text
        assert 'lang="ko"' in page
        assert 'href="/static/light.css" id="light" media="all"' in page
        for back in ("//evil.example", "https://evil.example", "/\\evil.example", "", "/a\nSet-Cookie: b"):
            answer = browser.post("/comfort", data={"theme": "pink", "language": "x", "back": back})
            assert (answer.headers["location"], answer.headers.get_list("set-cookie")) == ("/", [])


def test_changes_are_told_to_whoever_listens(node: Node, refused: str) -> None:
    with httpx.stream("GET", f"{node.url}/events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines).startswith("retry: ")
        with node.store.database.begin() as db:  # another process than the server
            studies.read_again(db, refused)
        assert next(line for line in lines if line.startswith("event: ")) == "event: change"


def test_a_mark_tells_whether_a_page_is_old(node: Node, refused: str) -> None:
    marks = [httpx.get(f"{node.url}/studies/{refused}/mark").json()["mark"] for _ in range(2)]
    assert marks[0] == marks[1]
    assert f'data-mark="{marks[0]}"' in httpx.get(f"{node.url}/studies/{refused}").text
    with node.store.database.begin() as db:
        studies.read_again(db, refused)
    assert httpx.get(f"{node.url}/studies/{refused}/mark").json()["mark"] != marks[0]
    assert httpx.get(f"{node.url}/studies/1.2.3/mark").status_code == 404


def test_a_result_can_do_nothing(node: Node) -> None:
    report = httpx.get(f"{node.url}/readings/{node.reading_id}/report.html")
    assert report.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "Yamada" in report.text
    other = httpx.get(f"{node.url}/readings/{node.reading_id}/result.json")
    assert other.headers["content-disposition"].startswith("attachment")
    for wrong in ("nothing.json", "..%2f..%2fnode.sqlite", "../../node.sqlite"):
        assert httpx.get(f"{node.url}/readings/{node.reading_id}/{wrong}").status_code == 404


def test_a_person_can_read_again_and_send_again(node: Node, refused: str) -> None:
    answer = httpx.post(f"{node.url}/studies/{refused}/read")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{refused}")
    found = httpx.get(f"{node.url}/api/studies/{refused}").json()
    assert found["readings"][0]["state"] == "waiting"
    assert found["readings"][-1]["state"] == "refused"
    assert found["aside"][0]["code"] == "changed"
    assert httpx.post(f"{node.url}/deliveries/{node.delivery_id}/resend").status_code == 303
    answer = httpx.post(f"{node.url}/api/deliveries/{node.delivery_id}/resend")
    assert answer.status_code == 202
    assert httpx.post(f"{node.url}/api/studies/1.2.3/read").status_code == 404
    assert httpx.post(f"{node.url}/api/deliveries/none/resend").status_code == 404
    told = [(entry["action"], entry["StudyInstanceUID"]) for entry in node.audit()]
    assert ("read again", refused) in told
    assert told.count(("resend", next(iter(node.datasets.values())).StudyInstanceUID)) == 2


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}],
)
def test_another_site_cannot_act(node: Node, study: str, headers: dict[str, str]) -> None:
    for path in (f"/studies/{study}/read", f"/deliveries/{node.delivery_id}/resend", "/upload", "/dicom-web/studies"):
        answer = httpx.post(node.url + path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    own = {"Origin": node.url, "Sec-Fetch-Site": "same-origin"}
    assert httpx.post(f"{node.url}/studies/1.2.3/read", headers=own).status_code == 404


def test_the_list_for_programs(node: Node, study: str) -> None:
    rows = httpx.get(f"{node.url}/api/studies").json()["studies"]
    (row,) = [row for row in rows if row["StudyInstanceUID"] == study]
    assert row["PatientName"] == NAME
    assert row["probability"] == 0.83
    assert {item["destination"] for item in row["deliveries"]} == {"pacs", "fhir"}
    assert all(row["state"] == "refused" for row in httpx.get(f"{node.url}/api/studies?state=refused").json()["studies"])


def test_the_audit_trail_is_fhir(node: Node, study: str) -> None:
    httpx.get(f"{node.url}/studies/{study}")
    seen, url = [], f"{node.url}/api/audit?count=3"
    for _ in range(3):
        found = httpx.get(url)
        assert found.headers["content-type"].startswith("application/fhir+json")
        bundle = Bundle.model_validate_json(found.text)
        seen += [entry.resource.id for entry in bundle.entry]
        url = next(link.url for link in bundle.link if link.relation == "next")
    assert seen == sorted(set(seen), key=int)
    whole = Bundle.model_validate_json(httpx.get(f"{node.url}/api/audit?count=1000").text)
    views = [entry.resource for entry in whole.entry if entry.resource.entity and entry.resource.action == "R"]
    assert views[0].entity[0].what.identifier.value == f"urn:oid:{study}"
    assert httpx.get(f"{node.url}/api/audit?count=0").json()["code"] == "request-wrong"


def upload_dataset(number: int, *, study: str):
    dataset = phantom_datasets()[0]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
    return dataset


def zipped(*contents: bytes, name: str = "{n}.dcm") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, content in enumerate(contents):
            archive.writestr(name.format(n=n), content)
    return buffer.getvalue()


def test_files_and_zips_are_uploaded(node: Node) -> None:
    one, two, three = (encode(upload_dataset(n, study="2.25.901")) for n in (1, 2, 3))
    files = [("files", ("a.dcm", one)), ("files", ("b.zip", zipped(two, b"no DICOM"))), ("files", ("", b""))]
    answer = httpx.post(f"{node.url}/upload", files=files, timeout=60)  # the first starts the process that opens files
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "studies": ["2.25.901"],
        "outcomes": {"filed": 2, "unreadable": 1},
        "codes": {"not-dicom": 1},
        "reasons": [{"code": "not-dicom", "count": 1, "message": "It is no DICOM object."}],
    }
    answer = httpx.post(f"{node.url}/upload", content=zipped(one, three), headers={"Content-Type": "application/zip"})
    assert answer.json()["outcomes"] == {"duplicate": 1, "filed": 1}
    page = httpx.post(f"{node.url}/upload", files=files[:1], headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/upload?duplicate=1&study=2.25.901")
    told = httpx.get(f"{node.url}{page.headers['location']}&not-dicom=3&nonsense=4&study=<b>").text
    assert "1 duplicate." in told
    german = httpx.post(f"{node.url}/upload", files=[("files", ("a", b"nothing"))], headers={"Accept-Language": "de"})
    assert german.json()["reasons"] == [{"code": "not-dicom", "count": 1, "message": "Es ist kein DICOM-Objekt."}]
    assert 'href="/studies/2.25.901"' in told
    assert "3 × It is no DICOM object." in told
    assert "nonsense" not in told.partition("<main")[2]
    assert "<b>" not in told
    assert not list(node.settings.spool.glob("*"))
    assert not list(node.settings.node.folder.glob(".zip*"))


def test_bad_uploads_are_refused(node: Node) -> None:
    bomb = zipped(bytes(80 * 2**20))
    for content, status, code in (
        (zipped(b"x", name="../{n}"), 400, "archive-escapes"),
        (bomb, 400, "archive-bomb"),
        (b"PK\x03\x04 nonsense", 400, "damaged-archive"),
    ):
        answer = httpx.post(f"{node.url}/upload", content=content, headers={"Content-Type": "application/zip"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert httpx.post(f"{node.url}/upload", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert httpx.post(f"{node.url}/upload", files=[("files", ("a", b"nothing"))]).status_code == 422
    packed = httpx.post(
        f"{node.url}/upload", content=b"x", headers={"Content-Type": "application/zip", "Content-Encoding": "gzip"}
    )
    assert packed.status_code == 415
    assert not list(node.settings.spool.glob("*"))


def test_metrics_and_readiness(node: Node) -> None:
    assert httpx.get(f"{node.url}/health").text == "up\n"
    answer = httpx.get(f"{node.url}/ready")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["No receiver is running.", "No worker is running."]
    text = httpx.get(f"{node.url}/metrics").text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["pneumoscope_studies", ("state", "read")] == 1
    assert samples["pneumoscope_deliveries", ("destination", "fhir"), ("state", "delivered")] == 1
    assert samples["pneumoscope_processes_alive", ("kind", "server")] == 1
    assert samples["pneumoscope_model_info", ("device_uid", "2.25.9"), ("model", "lung-lesion 0.1.0")] == 1
    assert 0 < samples["pneumoscope_disk_free_share",] < 1
    assert ("pneumoscope_oldest_waiting_delivery_age_seconds",) in samples
    assert ("pneumoscope_http_requests_total", ("method", "GET"), ("route", "/health"), ("status", "200")) in samples


def test_a_person_is_shown_a_page_where_a_program_is_told_by_json(node: Node) -> None:
    for path, code in (("/studies/9.9.9", "no-such-study"), ("/nothing/of/the/kind", "not-found")):
        shown = httpx.get(node.url + path, headers={"Accept": "text/html,*/*"}, timeout=30)
        assert (shown.status_code, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert code in shown.text
        assert 'href="/"' in shown.text
        told = httpx.get(node.url + path, timeout=30)
        assert (told.status_code, told.json()["code"]) == (404, code)
    german = httpx.get(f"{node.url}/studies/9.9.9", headers={"Accept": "text/html", "Accept-Language": "de"}, timeout=30)
    assert "Diese Untersuchung gibt es hier nicht." in german.text
