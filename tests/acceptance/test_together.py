"""Two people at two browsers read one study together: slices, window, marks, chat, voice and video, until the host ends it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pydicom import dcmread

import databases
import looks
from pneumoscope.config import Settings
from pneumoscope.filing.objects import file_waiting
from pneumoscope.filing.spool import Spool
from pneumoscope.phantom import PhantomSpec, dicom_parcels, render
from pneumoscope.store import Store, accounts, arrivals, audit, passwords
from servers import free_port, wait_for

PASSWORD = "a few words do well"
#: Where set, pictures of the pages are put.
PICTURES = os.environ.get("PNEUMOSCOPE_TEST_PICTURES")
#: On a machine that has much else to do.
PATIENCE_MS = 180_000


@dataclass
class House:
    url: str
    store: Store
    uid: str

    def trail(self) -> list[tuple[str, str]]:
        with self.store.database.look() as db:
            rows = audit.entries(db, limit=10_000)
        return [(row["actor"], row["detail"]) for row in rows if row["action"] == "read together"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("together")) as running:
        yield running


@contextmanager
def running_house(folder: Path, **more: str) -> Iterator[House]:
    """A server with a phantom and people who may look at it; ``more``: settings, by name in capitals."""
    port = free_port()
    settings = Settings(node={"folder": folder})
    settings.spool.mkdir(parents=True)
    store = databases.store(folder)
    uid = file_phantom(store, settings)
    with store.database.begin() as db:
        for login, role in (("kim", "reader"), ("lee", "reader"), ("cho", "technician")):
            account_id = accounts.add(db, login=login, name=f"Dr {login.title()}", roles=[role])
            accounts.set_password(db, account_id, passwords.hashed(PASSWORD))
    log = folder / "log"
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PNEUMOSCOPE_")}
    variables |= {"PNEUMOSCOPE_NODE__FOLDER": str(folder), "PNEUMOSCOPE_HTTP__PORT": str(port)}
    variables |= {f"PNEUMOSCOPE_{name}": value for name, value in more.items()}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-W", "error", "-m", "pneumoscope.server"], env=variables, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(url, process, log), seconds=120, what="the server")
        yield House(url, store, uid)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        store.database.close()
    told = log.read_text()
    assert "Traceback" not in told
    assert "Exception ignored" not in told
    for secret in ("invite=", "words of a chat", "Yamada"):
        assert secret not in told


def file_phantom(store: Store, settings: Settings) -> str:
    spec = PhantomSpec(slices=24, size_px=192, pixel_spacing_mm=1.9, slice_spacing_mm=12.0, slice_thickness_mm=2.0)
    contents = [parcel.content for parcel in dicom_parcels(render(spec), PatientName="Yamada^Tarou", PatientID="P-1")]
    spool = Spool(settings.spool)
    with store.database.begin() as db:
        arrival_id = arrivals.open_arrival(db, process_id="receiver-x", channel="dicom")
    spool.open(arrival_id)
    for content in contents:
        spool.write(arrival_id, content)
    assert {outcome.status for outcome in file_waiting(store, spool, arrival_id, settings=settings)} == {"filed"}
    return str(dcmread(BytesIO(contents[0])).StudyInstanceUID)


def _answers(url: str, process: subprocess.Popen, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with looks.chromium(looks.WITH_MEDIA) as running:
        yield running


@pytest.fixture
def sit(browser: Browser, house: House) -> Iterator[object]:
    with seats(browser, house, KEEP_SOCKETS) as sitting:
        yield sitting


@contextmanager
def seats(browser: Browser, house: House, script: str) -> Iterator[Callable[..., Page]]:
    """Each person who is logged in has a browser of their own; ``script`` runs first, what a page complains of fails."""
    contexts, complaints = [], []

    def _sit(login: str, *, size: tuple[int, int] = (1366, 768), **options: object) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark", base_url=house.url, **options
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(script)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
        page.goto("/login")
        page.get_by_label("Name", exact=True).fill(login)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in", exact=True).click()
        page.wait_for_url(f"{house.url}/")
        return page

    expect.set_options(timeout=PATIENCE_MS)
    yield _sit
    for context in contexts:
        context.close()
    assert complaints == []


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def begin(house: House, page: Page) -> str:
    page.goto(f"/studies/{house.uid}")
    picture(page, "together-study")
    page.get_by_role("button", name="Read together").click()
    expect(view_state(page)).to_contain_text("Slice 13/24 ·")
    return page.locator("#link").input_value()


def view_state(page: Page):
    return page.locator("#view-state")


def at(page: Page, right: float, down: float) -> tuple[float, float]:
    """A place on the view, by shares of it."""
    box = page.locator("#canvas").bounding_box()
    return box["x"] + right * box["width"], box["y"] + down * box["height"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], *, button: str = "left") -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down(button=button)
    page.mouse.move(*at(page, *end), steps=4)
    page.mouse.up(button=button)


def has_colour(page: Page, colour: tuple[int, int, int]) -> bool:
    """Whether something of a person's colour is on the canvas."""
    script = """([r, g, b]) => {
      const canvas = document.getElementById("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      for (let n = 0; n < data.length; n += 4) if (data[n] === r && data[n + 1] === g && data[n + 2] === b) return true;
      return false;
    }"""
    return page.evaluate(script, list(colour))


#: Lets the test break the connection.
KEEP_SOCKETS = """window.sockets = []; window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); window.sockets.push(this); }
}"""
BREAK = "() => window.sockets.at(-1).close()"
IS_BACK = "(before) => window.sockets.length > before && window.sockets.at(-1).readyState === 1"

#: Whether so many people are seen moving.
PLAYING = """(number) => [...document.querySelectorAll("#people video")].filter(
  (video) => !video.hidden && video.videoWidth > 0 && video.currentTime > 0
).length === number"""
AMBER, CYAN = (255, 209, 102), (92, 200, 214)


@pytest.mark.soak
def test_two_people_read_a_study_together(house: House, sit) -> None:
    kim, lee = sit("kim"), sit("lee")
    link = begin(house, kim)
    lee.goto(link)
    for page in (kim, lee):
        expect(page.locator("#people li")).to_have_count(2)
        expect(page.locator("#people")).to_contain_text("Dr Kim")
        expect(page.locator("#people")).to_contain_text("Dr Lee")

    # whoever moves leads
    expect(view_state(lee)).to_contain_text("Slice 13/24 ·")
    kim.mouse.move(*at(kim, 0.5, 0.5))
    kim.mouse.wheel(0, -100)
    kim.mouse.wheel(0, -100)
    expect(view_state(lee)).to_contain_text("Slice 15/24 ·")
    lee.locator("#canvas").focus()
    lee.keyboard.press("PageDown")
    expect(view_state(kim)).to_contain_text("Slice 5/24 ·")
    kim.get_by_role("button", name="Mediastinum").click()
    expect(view_state(lee)).to_contain_text("C 40 W 400")
    drag(lee, (0.5, 0.5), (0.6, 0.6), button="right")
    expect(view_state(kim)).not_to_contain_text("C 40 W 400")
    kim.get_by_role("button", name="Lung").click()
    expect(view_state(lee)).to_contain_text("C -600 W 1500")

    # what one points at and draws, the other sees in the one's colour
    wait_for(lambda: has_colour(lee, AMBER) or not kim.mouse.move(*at(kim, 0.4, 0.4)), seconds=60, what="the pointer of kim")
    lee.get_by_role("button", name="Arrow").click()
    lee.get_by_label("Words for the next mark").fill("here?")
    drag(lee, (0.3, 0.3), (0.42, 0.45))
    lee.get_by_role("button", name="Line").click()
    drag(lee, (0.55, 0.4), (0.7, 0.4))
    lee.mouse.move(5, 5)
    wait_for(lambda: has_colour(kim, CYAN), seconds=60, what="the marks of lee")
    kim.get_by_role("button", name="Ellipse").click()
    drag(kim, (0.6, 0.5), (0.75, 0.7))
    lee.get_by_label("Say in writing").fill("words of a chat")
    lee.get_by_role("button", name="Send").click()
    expect(kim.locator("#chat")).to_contain_text("Dr Lee words of a chat")

    # voice and video, from browser to browser
    for page, playing in ((kim, 1), (lee, 2)):
        page.get_by_role("button", name="Microphone").click()
        page.get_by_role("button", name="Camera").click()
        for either in (kim, lee):  # lee only looks on at first
            either.wait_for_function(PLAYING, arg=playing)
    for page in (kim, lee):
        expect(page.locator("#people")).to_contain_text("microphone on")
    picture(kim, "together-host")
    picture(lee, "together-guest")

    # all connections break, as when the server starts anew: the pages tell it again what it forgot
    before = [page.evaluate("() => window.sockets.length") for page in (kim, lee)]
    for page in (kim, lee):
        page.evaluate(BREAK)
    for page, opened in zip((kim, lee), before, strict=True):
        page.wait_for_function(IS_BACK, arg=opened)
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#people li")).to_have_count(2)
        page.wait_for_function(PLAYING, arg=2)
        wait_for(lambda page=page: has_colour(page, AMBER) and has_colour(page, CYAN), seconds=60, what="the marks again")

    # marks go again; who looks on their own is not followed
    for _ in range(2):
        lee.get_by_role("button", name="Remove my last mark").click()
    wait_for(lambda: not has_colour(kim, CYAN), seconds=60, what="the marks of lee to go")
    lee.get_by_label("See what the others see").uncheck()
    expect(kim.locator("#people")).to_contain_text("on their own")
    lee.locator("#canvas").focus()
    lee.keyboard.press("End")
    expect(view_state(lee)).to_contain_text("Slice 24/24 ·")
    kim.locator("#canvas").focus()
    kim.keyboard.press("ArrowUp")
    expect(view_state(kim)).to_contain_text("Slice 6/24 ·")
    lee.get_by_label("See what the others see").check()
    expect(view_state(lee)).to_contain_text("Slice 6/24 ·")

    kim.get_by_role("button", name="Camera").click()
    lee.wait_for_function(PLAYING, arg=1)
    kim.get_by_role("button", name="Camera").click()
    lee.wait_for_function(PLAYING, arg=2)

    # the host ends it, for both, and the link is dead
    kim.get_by_text("End for all").click()
    kim.get_by_role("button", name="End now").click()
    for page in (kim, lee):
        expect(page.locator("#notice")).to_contain_text("The host has ended this reading")
        expect(page.get_by_role("button", name="Camera")).to_be_disabled()
    assert lee.goto(link).status == 404
    expect(lee.get_by_role("heading", name="This reading is over")).to_be_visible()
    picture(kim, "together-ended")
    picture(lee, "together-over")
    said = {("kim", "Begun."), ("kim", "Joined."), ("lee", "Joined."), ("kim", "Ended."), ("kim", "Left."), ("lee", "Left.")}
    wait_for(lambda: said <= set(house.trail()), seconds=30, what="the audit trail")
    assert not any("words of a chat" in detail for _, detail in house.trail())


def test_nothing_can_be_pressed_before_it_works(house: House, sit) -> None:
    kim = sit("kim")
    link = begin(house, kim)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    kim.route("**/together.js", hold)  # a slow network: the page is there, its script is not
    kim.goto(link, wait_until="commit")
    for control in ("#microphone", "#camera", "#chat-text", "#copy", "#follow"):
        expect(kim.locator(control)).to_be_disabled()
    wait_for(lambda: held or kim.wait_for_timeout(50), seconds=60, what="the script to be asked for")
    held[0].continue_()
    kim.get_by_role("button", name="Microphone").click()
    expect(kim.locator("#people")).to_contain_text("microphone on")


def test_two_quick_presses_remove_two_marks(house: House, sit) -> None:
    kim = sit("kim")
    begin(house, kim)
    kim.get_by_role("button", name="Line").click()
    for down in (0.3, 0.6):
        drag(kim, (0.4, down), (0.6, down))
    kim.mouse.move(5, 5)
    wait_for(lambda: has_colour(kim, AMBER), seconds=60, what="the marks")
    kim.evaluate("() => { for (let n = 0; n < 2; n += 1) document.getElementById('undo').click(); }")  # before any answer
    wait_for(lambda: not has_colour(kim, AMBER), seconds=60, what="the marks to go")


def test_it_is_used_by_fingers_on_a_tablet(house: House, sit) -> None:
    kim = sit("kim", size=(1024, 768), has_touch=True)
    begin(house, kim)
    (x, y), (_, lower) = at(kim, 0.5, 0.4), at(kim, 0.5, 0.6)
    touch = kim.context.new_cdp_session(kim)
    for kind, place in (("touchStart", y), ("touchMove", (y + lower) / 2), ("touchMove", lower), ("touchEnd", None)):
        points = [{"x": x, "y": place}] if place else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(view_state(kim)).to_contain_text(re.compile(r"Slice [1-9]/24 ·"))
    picture(kim, "together-tablet")


def test_a_link_gives_no_right(house: House, sit) -> None:
    link = begin(house, sit("kim"))
    lee, cho = sit("lee"), sit("cho")
    assert cho.goto(link).status == 404
    assert cho.request.post(f"/studies/{house.uid}/together", headers={"X-Requested-With": "pneumoscope"}).status == 404
    assert lee.goto(link.partition("?")[0]).status == 404
    assert lee.goto(f"{link}x").status == 404
    meeting = link.partition("?")[0]
    assert lee.request.post(f"{meeting}/end", headers={"X-Requested-With": "pneumoscope"}).status == 404
    assert lee.goto(link).status == 200
    assert httpx.get(link).status_code == 401
    assert httpx.get(link, headers={"Accept": "text/html"}).headers["location"].startswith("/login?next=%2Ftogether%2F")
