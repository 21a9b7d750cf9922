"""Accept, modify, reject: a radiologist at the browser, a scanner and a PACS that are real."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from pneumoscope.output import write_all
from pneumoscope.phantom import SAMPLE, Order, dicom_parcels, render
from servers import Node, Orthanc, node, orthanc, renamed, wait_for

TOKEN = "a-token-of-the-reading-room"


class Room:
    """A node with a PACS, a study that was read, and readers at their screens."""

    def __init__(self, running: Node, pacs: Orthanc, folder: Path) -> None:
        self.node, self.pacs, self.uid = running, pacs, ""
        self._folder = folder

    def send(self, name: str, study: Path) -> None:
        folder = self._folder / name
        self.uid = renamed(study, folder)
        self.node.send(folder)
        wait_for(lambda: self.latest()["state"] == "read", seconds=120, what="the reading")

    def latest(self) -> dict:
        found = self.node.study(self.uid)
        return found["readings"][0] if found.get("readings") else {"state": "none"}

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.node.url}{path}", headers=self.node.headers, timeout=30)

    def in_the_pacs(self) -> list[Dataset]:
        """Assessments that Orthanc holds of the study."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": self.uid, "SeriesDescription": "Assessment*"}}
        ids = httpx.post(f"{self.pacs.url}/tools/find", json=query).json()
        files = [httpx.get(f"{self.pacs.url}/instances/{found}/file").content for found in ids]
        return sorted((dcmread(DicomBytesIO(file)) for file in files), key=lambda ds: int(ds.InstanceNumber))

    def wait_for_assessments(self) -> list[Dataset]:
        """One for each answer, once Orthanc has them all."""
        number = len(self.latest()["answers"])

        def all_there() -> list[Dataset]:
            found = self.in_the_pacs()
            return found if len(found) == number else []

        return wait_for(all_there, seconds=90, what=f"{number} assessments in Orthanc")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    spec = replace(SAMPLE, slices=30, slice_spacing_mm=10.0, slice_thickness_mm=2.0, size_px=192, pixel_spacing_mm=2.0)
    write_all(dicom_parcels(render(spec), order=Order.HEAD_FIRST), folder)
    return folder


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, study: Path) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    with orthanc(folder / "pacs", modalities={}) as pacs:
        settings = (
            f'tokens = ["{TOKEN}"]\n[arrival]\nquiet_s = 2\n[[destinations]]\nkind = "dicom"\nname = "pacs"\n'
            f'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {pacs.dicom_port}\ncommitment = false\n'
        )
        with node(folder / "node", settings, token=TOKEN) as running:
            found = Room(running, pacs, folder)
            found.send("study", study)
            yield found


@pytest.fixture
def sit(browser: Browser, room: Room) -> Iterator[object]:
    """A person's own browser, on the study's page."""
    contexts = []

    def _sit(name: str, **options: object) -> Page:
        # said with every request: a node that trusts this machine asks nobody who they are
        headers = {"Authorization": f"Basic {base64.b64encode(f'{name}:{TOKEN}'.encode()).decode()}"}
        contexts.append(browser.new_context(viewport={"width": 1366, "height": 768}, extra_http_headers=headers, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(90_000)
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(f"{room.node.url}/studies/{room.uid}")
        return page

    yield _sit
    for context in contexts:
        context.close()


def said(ds: Dataset) -> dict[str, str]:
    """Code meanings of the first group's evaluations."""
    found = {}
    items = [*ds.ContentSequence]
    while items:
        item = items.pop()
        items += item.get("ContentSequence", [])
        if item.ValueType == "CODE":
            found[item.ConceptNameCodeSequence[0].CodeValue] = item.ConceptCodeSequence[0].CodeMeaning
    return found


def test_a_reading_is_rejected_by_keys_and_accepted_by_another_reader_and_the_pacs_has_both(room: Room, sit) -> None:
    kim = sit("kim")
    kim.keyboard.press("r")
    kim.keyboard.press("5")
    kim.keyboard.press("Enter")
    kim.get_by_role("status").get_by_text("Your answer to version 1 is kept.").wait_for()
    (first,) = room.wait_for_assessments()
    findings = next(parcel for parcel in room.latest()["results"] if parcel["name"] == "sr.dcm")["SOPInstanceUID"]
    evidence = first.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [item.ReferencedSOPInstanceUID for item in evidence] == [findings]
    assert findings in room.pacs.objects(room.uid)
    assert said(first)["assessment"] == "Rejected"
    assert said(first)["objection"] == "The images are not adequate"
    assert (first.StudyInstanceUID, str(first.PatientID)) == (room.uid, "PHANTOM")
    assert kim.complaints == []

    lee = sit("lee")
    lee.keyboard.press("a")
    lee.get_by_role("status").wait_for()
    both = room.wait_for_assessments()
    assert [said(ds)["assessment"] for ds in both] == ["Rejected", "Accepted"]
    assert both[0] == first  # nothing was overwritten
    rows = lee.locator(".review tbody tr")
    assert [row.split("\t")[0].split(" ")[0] for row in rows.all_inner_texts()] == ["lee", "kim"]
    assert lee.get_by_text("The readers disagree").is_visible()
    web = room.get(f"/dicom-web/studies/{room.uid}/series?SeriesDescription=Assessment*").json()
    assert [series["00201209"]["Value"][0] if "00201209" in series else 2 for series in web] == [2]


def test_a_correction_by_a_plain_form_supersedes_the_same_readers_answer_which_stays(room: Room, sit) -> None:
    lee = sit("lee", java_script_enabled=False)
    lee.locator("summary", has_text="Modify").click()
    form = lee.locator("details[open] form")
    form.get_by_label("The category is wrong").check()
    form.get_by_label("Right category").select_option("indeterminate")
    form.get_by_role("group", name="Lesion missed in").get_by_label("left upper zone").check()
    form.get_by_label("In words").fill("Mostly motion.")
    form.get_by_role("button").click()
    lee.get_by_text("superseded by a later answer").wait_for()
    answers = room.latest()["answers"]
    last = answers[0]
    assert (last["judgement"], last["category"], last["added"]) == ("modify", "indeterminate", ["left_upper_zone"])
    earlier = next(each for each in answers if each["id"] == last["supersedes"])
    assert (earlier["judgement"], earlier["current"], last["current"]) == ("accept", False, True)
    assert lee.get_by_text("superseded by a later answer").count() == 1
    found = room.wait_for_assessments()
    named = found[2].PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == found[1].SOPInstanceUID


def test_a_form_that_was_opened_by_mistake_is_closed_by_a_key(sit) -> None:
    page = sit("kim")
    page.keyboard.press("m")
    form = page.locator(".judging details[open]")
    form.get_by_label("In words").fill("no")
    page.keyboard.press("Escape")
    assert form.count() == 0  # it lies over the images
    assert page.evaluate("document.activeElement.dataset.key") == "m"


def test_keys_do_nothing_while_a_person_types_or_has_switched_them_off(room: Room, sit) -> None:
    before = len(room.latest()["answers"])
    page = sit("park")
    page.keyboard.press("r")
    page.keyboard.press("6")
    field = page.locator("details[open]").get_by_label("In words")
    field.focus()
    page.keyboard.type("a marked artefact 1")
    assert field.input_value() == "a marked artefact 1"
    assert page.locator("details[open] input[value=other]").is_checked()
    page.get_by_label("Keys a, m, r").uncheck()
    page.keyboard.press("a")
    page.reload()
    page.keyboard.press("m")
    assert page.locator("details[open]").count() == 0
    assert len(room.latest()["answers"]) == before


@pytest.mark.parametrize("size", [(1366, 768), (1024, 768)])
def test_the_panel_fits_the_screen_and_can_be_touched(sit, size: tuple[int, int]) -> None:
    page = sit("kim")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.locator("summary", has_text="Modify").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for control in page.locator("[data-key]").all():
        box = control.bounding_box()
        assert box["height"] >= 44
        assert box["y"] < size[1]


def test_agreement_is_shown_with_numbers_and_intervals(room: Room, sit) -> None:
    page = sit("lee")
    page.goto(f"{room.node.url}/agreement")
    text = " ".join(page.locator("main").inner_text().split())
    assert "all readers 2 0 1 1" in text
    assert "you 1 0 1 0" in text
    assert "CT1 2 0 1 1" in text
    assert "kim" not in text
    assert page.locator("svg[role=img] circle").count() == 1
    assert page.complaints == []
    counted = [line for line in room.get("/metrics").text.splitlines() if line.startswith("pneumoscope_answers_total")]
    assert len(counted) == 3
    assert not any("lee" in line or "kim" in line for line in counted)


def test_an_answer_given_while_no_worker_lives_is_made_into_an_assessment_by_the_next(room: Room, sit) -> None:
    for pid in room.node.pids("worker"):
        room.node.kill_pid(pid)
    park = sit("park")
    park.get_by_role("button", name="Accept").click()
    park.get_by_role("status").wait_for()
    last = room.wait_for_assessments()[-1]
    assert (said(last)["assessment"], last.InstanceNumber) == ("Accepted", 4)
