"""Take the pictures of the documentation, of phantoms and invented names: a node's pages, the report, a hub's fleet."""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/integration/hub"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hub_fleet import running_hub

import furnished
import furnished_hub
import looks
from pneumoscope.store import Database, accounts, sessions
from pneumoscope.store.sessions import Limits
from reading_room import PATIENTS, send_all, write_study
from servers import Node, node

PICTURES = Path(__file__).parents[1] / "docs/images"
SCREEN = {"width": 1366, "height": 900}
LARGEST_BYTES = 250_000
PATIENCE_MS = 300_000
LONG = timedelta(days=1)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with looks.chromium(looks.WITH_MEDIA) as browser, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with node(folder / "node", f"\n[arrival]\nquiet_s = 1\n{furnished.SETTINGS}") as running:
            take_reading_room(browser, running, folder)
        with running_hub(folder, more=furnished_hub.SETTINGS) as hub:
            fleet = furnished_hub.furnish(hub.settings)
            cookie = {"name": f"__Host-pneumoscope-{hub.settings.hub.port}", "value": fleet.token, "secure": True}
            with person(browser, hub.pages, cookie) as page:
                show(page, "/", "fleet.png", height=1420)


def take_reading_room(browser: Browser, running: Node, folder: Path) -> None:
    uids = send_all(running, folder / "sent")
    reading = running.study(uids["worst"])["readings"][0]["id"]
    with person(browser, running.url) as page:
        show(page, "/", "worklist.png", height=640)
        show(page, f"/studies/{uids['worst']}", "study.png")
        show(page, f"/readings/{reading}/report.html", "report.png")
        take_upload(page, folder / "to upload")
    furnished.furnish(running, offered=uids["worst"], held=uids["clear"])
    kim, lee = session(running, "kim"), session(running, "lee")
    with person(browser, running.url, kim) as page, person(browser, running.url, lee) as other:
        show(page, "/agreement", "agreement.png")
        show(page, "/service", "service.png")
        take_together(page, other, uids["worst"])


def session(running: Node, login: str) -> dict[str, str]:
    """The cookie of someone who has logged in."""
    database = Database(f"sqlite:///{running.folder / 'kept' / 'node.sqlite'}")
    with database.begin() as db:
        account_id = next(row["id"] for row in accounts.everyone(db) if row["login"] == login)
        token = sessions.begin(db, account_id, address="127.0.0.1", agent="Firefox", limits=Limits(idle=LONG, longest=LONG))
    database.close()
    return {"name": f"pneumoscope-{running.http_port}", "value": token}


@contextmanager
def person(browser: Browser, url: str, cookie: dict[str, object] | None = None) -> Iterator[Page]:
    """Someone at a browser, in the dark theme."""
    context = browser.new_context(viewport=SCREEN, color_scheme="dark", base_url=url, ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    if cookie:
        context.add_cookies([{**cookie, "url": url}])
    yield context.new_page()
    context.close()


def take_upload(page: Page, folder: Path) -> None:
    """A phantom on its way in, anonymised."""
    write_study(PATIENTS[1], folder / "phantom")
    page.goto("/upload")
    page.check("input[name=anonymise]")
    page.set_input_files("input[webkitdirectory]", folder / "phantom")
    page.click("form.upload button:not(.cancel)")
    page.locator(".studies li[data-state=read]").wait_for()
    keep(page, "upload.png", height=640)


def take_together(host: Page, guest: Page, uid: str) -> None:
    """Two read a phantom: what one points at and says, the other sees."""
    host.goto(f"/studies/{uid}")
    host.get_by_role("button", name="Read together").click()
    expect(host.locator("#view-state")).to_contain_text("Slice ")  # only then there is a link
    guest.goto(host.locator("#link").input_value())
    for page in (host, guest):
        page.set_viewport_size({**SCREEN, "height": 768})
        expect(page.locator("#people li")).to_have_count(2)
        page.get_by_role("button", name="Microphone").click()
    host.mouse.move(500, 500)
    for _ in range(4):
        host.mouse.wheel(0, 100)
    draw(host, "Ellipse", (0.32, 0.46), (0.45, 0.74), words="glass")
    draw(guest, "Arrow", (0.8, 0.85), (0.635, 0.68), words="denser here?")
    for page, text in ((guest, "The left side is denser."), (host, "Yes, from here to the base.")):
        page.get_by_label("Say in writing").fill(text)
        page.get_by_role("button", name="Send").click()
    expect(host.locator("#chat li")).to_have_count(2)
    for page in (host, guest):
        expect(page.locator("#people")).to_contain_text("microphone on")
    box = guest.locator("#canvas").bounding_box()
    assert box is not None
    guest.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.55 * box["height"], steps=5)
    host.wait_for_timeout(500)
    keep(host, "together.png", height=768)


def draw(page: Page, tool: str, start: tuple[float, float], end: tuple[float, float], *, words: str) -> None:
    """A mark from one place to another, by shares of the view."""
    page.get_by_role("button", name=tool).click()
    page.get_by_label("Words for the next mark").fill(words)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    for place, act in ((start, page.mouse.down), (end, page.mouse.up)):
        page.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"], steps=4)
        act()


def show(page: Page, path: str, name: str, *, height: int = SCREEN["height"]) -> None:
    """Open a page and keep what fits on a screen."""
    page.goto(path)
    keep(page, name, height=height)


def keep(page: Page, name: str, *, height: int) -> None:
    """The picture of a page, with as many colours as a small file allows."""
    page.set_viewport_size({**SCREEN, "height": height})
    page.wait_for_function("[...document.images].every(image => image.complete)")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for greys in (128, 64, 32):
        in_few_colours(picture, greys).save(PICTURES / name, optimize=True)
        if (PICTURES / name).stat().st_size < LARGEST_BYTES:
            return
    raise SystemExit(f"{name} is larger than {LARGEST_BYTES} bytes")


def in_few_colours(picture: Image.Image, greys: int) -> Image.Image:
    """With a palette: half of it for what is coloured, however little that is, since the colours of lesions mean something."""
    pixels = np.asarray(picture).reshape(-1, 3)
    coloured = np.ptp(pixels.astype(int), axis=1) > 40
    colours: list[int] = []
    for which, number in ((coloured, 128), (~coloured, greys)):
        part = Image.fromarray(pixels[which][None]).quantize(number, dither=Image.Dither.NONE)
        colours += (part.getpalette() or [])[: 3 * number]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
