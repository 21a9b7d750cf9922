"""From files on a desk to the segmentation over the images, in a real browser that can reach nothing but the node."""

import io
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from scipy import ndimage

import looks
from pneumoscope.errors import OperatorNeeded
from pneumoscope.fleet.pool_messages import Assigned, Outcome, Sealed, Urgency
from pneumoscope.node import viewer
from pneumoscope.output import write_all
from pneumoscope.phantom import SAMPLE, Order, dicom_parcels, render
from pneumoscope.store import Database, pool
from pneumoscope.store.pool import Who
from servers import Node, renamed, wait_for
from servers import node as running_node
from tabs import NOTE_PAINTED, chromium_tab

pytestmark = pytest.mark.soak

#: The images are drawn by WebGL, here in software.
ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
#: A request may have 1 MB, which is a fifth of the phantom.
SIZE_PX = 256
VIEWPORT = """() => {
  const { x, y, width, height } = document.querySelector('.viewport-element')?.getBoundingClientRect() ?? {};
  return { x: x ?? 0, y: y ?? 0, width: width ?? 0, height: height ?? 0 };
}"""
SETTINGS = "max_upload_mb = 1\n[arrival]\nquiet_s = 5\n"
#: What stands in for that of a hospital; here nothing is sealed to it.
CERTIFICATE = "-----BEGIN CERTIFICATE-----AA==-----END CERTIFICATE-----"
#: Where set, pictures of the pages are put.
PICTURES = os.environ.get("PNEUMOSCOPE_TEST_PICTURES")
#: A machine that does much else at the same time.
PATIENCE_MS = 240_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("site"), SETTINGS) as found:
        yield found


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    spec = replace(SAMPLE, slices=40, slice_spacing_mm=8.0, slice_thickness_mm=8.0, size_px=SIZE_PX, pixel_spacing_mm=1.5)
    write_all(dicom_parcels(render(spec), order=Order.HEAD_FIRST), folder)
    (folder / "notes.txt").write_text("no DICOM")
    return folder


@pytest.fixture(scope="module")
def page(node: Node) -> Iterator[object]:
    """A page that notes what it asks for, what is refused and what it complains of; no host but the node is there for it."""
    with looks.chromium(ARGUMENTS + QUIET) as browser:
        context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="dark")
        opened = context.new_page()
        opened.asked, opened.elsewhere, opened.complaints = [], [], []

        def route(found: object) -> None:
            url = found.request.url
            opened.asked.append((found.request.method, url))
            if url.startswith(f"{node.url}/"):
                found.continue_()
            else:
                opened.elsewhere.append(url)
                found.abort()

        context.route(re.compile("^(http|ws)"), route)
        opened.on("console", lambda message: opened.complaints.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        yield opened


@pytest.fixture(scope="module")
def study(page, phantom: Path, node: Node) -> str:
    """The phantom, brought as a person would: a folder, anonymised, in several batches."""
    page.goto(f"{node.url}/upload")
    page.check("input[name=anonymise]")
    page.set_input_files("input[webkitdirectory]", phantom)
    page.click("form.upload button:not(.cancel)")
    page.get_by_text("All files are here: 40 taken, 1 not.").wait_for(timeout=PATIENCE_MS)
    page.locator(".studies li[data-state=read]").wait_for(timeout=PATIENCE_MS)
    return page.locator(".studies a").first.get_attribute("href").rpartition("/")[2]


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        viewer.install()
    except OperatorNeeded as fault:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have the viewer: {fault}")
        pytest.skip(str(fault))


def test_a_folder_is_uploaded_followed_and_anonymised(page, study: str, node: Node) -> None:
    text = page.locator("section.progress").inner_text()
    assert "41 of 41 files" in text
    assert "1 × It is no DICOM object." in text
    assert "lungs involved" in text
    (row,) = node.studies()
    assert row["StudyInstanceUID"] == study
    assert row["PatientName"].startswith("ANON-")
    assert page.complaints == []


def test_the_segmentation_lies_on_the_lesions(page, study: str, node: Node, installed: None) -> None:
    page.asked.clear()
    held, may_come = [], False

    def hold(request: object) -> None:
        if may_come:
            request.fallback()
        else:
            held.append(request)

    page.route(overlay_of(node, study), hold)
    page.goto(f"{node.url}/studies/{study}")
    page.get_by_role("link", name="Images").click()
    page.get_by_text("AI lungs and lesions").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_text("AI chest CT findings").first.wait_for(timeout=PATIENCE_MS)  # the structured report
    assert page.get_by_text("NOT FOR PRIMARY DIAGNOSIS", exact=True).is_visible()

    # while the image stands alone, the page says that more is to come
    page.get_by_role("status").get_by_text("The overlay is being loaded.").wait_for(timeout=PATIENCE_MS)
    wait_for(lambda: held or page.wait_for_timeout(100), seconds=PATIENCE_MS / 1000, what="the viewer to ask for the overlay")
    wait_for(lambda: image_pixels(page) > 1000, seconds=PATIENCE_MS / 1000, what="the image", every_s=0.5)
    assert lesion_pixels(page).sum() == 0
    picture(page, "viewer-overlay-on-its-way")
    may_come = True
    for request in held:
        request.fallback()
    page.get_by_text("The overlay is being loaded.").wait_for(state="hidden", timeout=PATIENCE_MS)
    assert lesion_pixels(page).sum() > 20
    picture(page, "viewer-overlay-there")
    coloured = lesion_pixels(page)
    number = int(re.search(r"\((\d+)/40\)", page.get_by_text(re.compile(r"\(\d+/40\)")).first.inner_text())[1])
    mask = lesions(node, study)[number]
    inside = ndimage.binary_dilation(mask, iterations=3)[coloured]  # outlines have a width
    assert inside.mean() > 0.9, f"{inside.mean():.0%} of {inside.size} coloured pixels lie on the lesions of image {number}"
    covered = ndimage.binary_dilation(coloured, iterations=2)[mask]
    assert covered.mean() > 0.9, f"{covered.mean():.0%} of the lesions of image {number} are coloured"


def test_no_other_host_is_asked_and_nothing_is_complained_of(page) -> None:
    assert page.elsewhere == []
    assert {url.split("/")[3].split("?")[0] for _, url in page.asked} >= {"dicom-web", "app-config.js"}
    assert {method for method, url in page.asked if "/dicom-web" in url} == {"GET"}
    assert [text for text in page.complaints if "favicon" not in text] == []


def test_an_overlay_that_does_not_come_is_told_of(page, study: str, node: Node, installed: None) -> None:
    context = page.context.browser.new_context(viewport={"width": 1366, "height": 768}, locale="de")
    alone = context.new_page()
    alone.route(overlay_of(node, study), lambda request: request.abort())
    alone.goto(f"{node.url}/viewer/viewer?StudyInstanceUIDs={study}")
    said = alone.get_by_role("status").get_by_text("Die Überlagerung konnte nicht geladen werden.")
    said.wait_for(timeout=PATIENCE_MS)
    wait_for(lambda: image_pixels(alone) > 1000, seconds=PATIENCE_MS / 1000, what="the image", every_s=0.5)
    assert said.is_visible()
    assert alone.get_by_text("NICHT ZUR PRIMÄRDIAGNOSE", exact=True).is_visible()
    picture(alone, "viewer-overlay-lost")
    context.close()


def test_a_guest_sees_the_one_study_until_the_right_ends(
    page, study: str, phantom: Path, node: Node, installed: None, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(phantom.glob("*.dcm"))[:3]:
        shutil.copy(file, few)
    other = renamed(few, tmp_path / "other")
    node.send(tmp_path / "other")
    wait_for(lambda: other in {row["StudyInstanceUID"] for row in node.studies()}, what="another study")
    database = Database(f"sqlite:///{node.folder / 'kept' / 'node.sqlite'}")
    offer_id, link = invited(database, study)
    # from elsewhere, by a proxy: the node of this test trusts its own machine
    context = page.context.browser.new_context(
        viewport={"width": 1366, "height": 768}, base_url=node.url, extra_http_headers={"X-Forwarded-For": "203.0.113.9"}
    )
    context.set_default_timeout(PATIENCE_MS)
    guest = context.new_page()
    guest.goto(link)
    guest.get_by_role("button", name="Go to the study").click()
    guest.get_by_role("link", name="Images").click()
    wait_for(lambda: lesion_pixels(guest).sum() > 20, seconds=PATIENCE_MS / 1000, what="the segmentation", every_s=0.5)
    assert image_pixels(guest) > 1000
    picture(guest, "viewer-of-a-guest")

    viewer_of = "/viewer/viewer?StudyInstanceUIDs="
    root, place = "/dicom-web/studies", f"/dicom-web/studies/{other}"
    hidden = [
        f"/studies/{other}",
        f"{viewer_of}{other}",
        f"{viewer_of}{study},{other}",
        root,
        f"{root}?StudyInstanceUID={other}",
    ]
    hidden += [f"{place}/series", f"{place}/instances", f"{place}/metadata", place]
    assert {path: guest.request.get(path).status for path in hidden} == dict.fromkeys(hidden, 404)
    beside = context.new_page()
    assert beside.goto(f"{viewer_of}{other}").status == 404
    assert image_pixels(beside) == 0

    with database.begin() as db:
        assert pool.end(db, offer_id, Outcome.WITHDRAWN, who=Who(actor="kim"))
    database.close()
    guest.reload()
    guest.wait_for_url("**/login?next=*")
    assert image_pixels(guest) == 0
    own = f"{root}/{study}"
    gone = [f"{own}/series", f"{own}/instances", f"{own}/metadata", own]
    assert {path: guest.request.get(path).status for path in gone} == dict.fromkeys(gone, 401)
    guest.go_back()  # nor does the browser have it still
    assert image_pixels(guest) == 0
    context.close()


def invited(database: Database, study: str) -> tuple[str, str]:
    """A hospital that we agreed with takes the study on offer: the id of the offer, and the link that its reader gets."""
    secrets: list[str] = []

    def seal(secret: str) -> Sealed:
        secrets.append(secret)
        return Sealed(id=offer_id, key="AA==", content="AA==")

    who, taker = Who(actor="kim"), "2b5b4a0e-0000-4000-8000-000000000001"
    with database.begin() as db:
        pool.agree(db, taker, title="Kreiskrankenhaus Nord", who=who)
        offer_id = pool.offer(db, study, urgency=Urgency.URGENT, images=40, longest=timedelta(hours=1), who=who)
        pool.invite(db, Assigned(id=offer_id, taker=taker, certificate=CERTIFICATE), seal)
    return offer_id, f"/guest/{offer_id}?secret={secrets[0]}"


def test_the_viewer_is_ready_before_it_is_asked_for(study: str, node: Node, installed: None, tmp_path: Path) -> None:
    headers = "performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/metadata')).length"
    activation = "performance.getEntriesByType('navigation')[0].activationStart"
    with chromium_tab(tmp_path / "profile", ARGUMENTS + QUIET) as tab:
        tab.open(f"{node.url}/studies/{study}")
        wait_for(
            lambda: tab.evaluate_ready(headers), seconds=PATIENCE_MS / 1000, what="the viewer to be made ready", every_s=0.2
        )
        assert tab.evaluate_ready("document.prerendering")
        tab.evaluate(f"document.querySelector('a[href$=\"{study}\"].ahead').click()")
        wait_for(lambda: tab.evaluate("location.pathname") == "/viewer/viewer", seconds=PATIENCE_MS / 1000, what="the viewer")
        assert tab.evaluate(activation) > 0, "it is the page that was made ready"
        tab.evaluate(NOTE_PAINTED)
        wait_for(lambda: tab.evaluate("window.paintedAt"), seconds=PATIENCE_MS / 1000, what="the image", every_s=0.2)


def test_a_viewer_that_was_made_ready_is_thrown_away_when_the_study_changes(
    study: str, node: Node, installed: None, tmp_path: Path
) -> None:
    with chromium_tab(tmp_path / "profile", ARGUMENTS + QUIET) as tab:
        tab.open(f"{node.url}/studies/{study}")
        ready = "document.prerendering"
        wait_for(lambda: tab.evaluate_ready(ready), seconds=PATIENCE_MS / 1000, what="the viewer ready", every_s=0.2)
        answer = httpx.post(f"{node.url}/studies/{study}/read", headers={"X-Requested-With": "pneumoscope"})
        assert answer.status_code == 303
        wait_for(
            lambda: tab.evaluate_ready(ready) is None, seconds=PATIENCE_MS / 1000, what="it to be thrown away", every_s=0.2
        )
        assert not tab.evaluate("document.getElementById('changed').hidden")


def picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def overlay_of(node: Node, study: str) -> re.Pattern[str]:
    """What is asked for to draw the segmentation, but not what is asked for to list it."""
    (row,) = httpx.get(f"{node.url}/dicom-web/studies/{study}/series?Modality=SEG").json()
    return re.compile(rf"/series/{re.escape(row['0020000E']['Value'][0])}/(?!metadata)")


def canvas(page) -> np.ndarray:
    """Red, green and blue of the image of 256 x 256, as it is on the canvas; black while there is none."""
    clip = page.evaluate(VIEWPORT)  # the element is put in anew while it is set up
    if not clip["width"]:
        return np.zeros((3, SIZE_PX, SIZE_PX), dtype=int)
    seen = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    side = min(seen.size)
    left, top = (seen.width - side) // 2, (seen.height - side) // 2
    fitted = seen.crop((left, top, left + side, top + side)).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    return np.moveaxis(np.asarray(fitted, dtype=int), -1, 0)


def lesion_pixels(page) -> np.ndarray:
    """Which pixels are amber or red, as lesions are; lungs are blue and green."""
    red, green, blue = canvas(page)
    return (red - blue > 35) & (red > green)


def image_pixels(page) -> int:
    """How many pixels are grey and bright, as soft tissue is."""
    red, green, blue = canvas(page)
    return int(np.count_nonzero((red > 100) & (abs(red - green) < 8) & (abs(red - blue) < 8)))


def lesions(node: Node, study: str) -> dict[int, np.ndarray]:
    """Masks of lesions by Instance Number of the image that they were drawn on."""
    place = f"{node.url}/dicom-web/studies/{study}"
    numbers = {
        row["00080018"]["Value"][0]: row["00200013"]["Value"][0] for row in httpx.get(f"{place}/instances?Modality=CT").json()
    }
    (row,) = httpx.get(f"{place}/instances?Modality=SEG").json()
    answer = httpx.get(row["00081190"]["Value"][0], headers={"Accept": "application/dicom"})
    seg = dcmread(io.BytesIO(answer.content))
    pixels = seg.pixel_array.astype(bool)
    ours = {item.SegmentNumber for item in seg.SegmentSequence if "lung" not in item.SegmentLabel}
    found: dict[int, np.ndarray] = {}
    for frame, group in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber in ours:
            number = numbers[group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
            found[number] = found.get(number, np.zeros_like(frame)) | frame
    return found
