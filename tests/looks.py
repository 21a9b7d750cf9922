"""Whether a page can be used by everyone: what axe finds, what is cut, what one has to scroll for."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
#: With a camera and a microphone of the browser's own making.
WITH_MEDIA = [*ARGUMENTS, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
#: WCAG 2.2 at level AA, and what axe calls good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = [(1366, 768), (1024, 768), (768, 1024)]
#: Where set, pictures of the pages are put.
PICTURES = os.environ.get("PNEUMOSCOPE_TEST_PICTURES")
#: What is cut or sticks out, and what of the header is broken into two lines.
CUT = """() => {
  const shown = [...document.querySelectorAll("button, .button, th, td, dd, label, h1, h2, p, .state, header nav a")]
    .filter((e) => e.checkVisibility() && !e.closest(".hidden"));
  const cut = shown.filter((e) => getComputedStyle(e).display !== "inline" && e.scrollWidth > e.clientWidth + 1);
  const broken = shown.filter((e) => e.matches("header *") && (e.getClientRects().length > 1 || e.offsetHeight > 44));
  return [...cut, ...broken].map((e) => e.outerHTML);
}"""


@contextmanager
def chromium(arguments: Sequence[str] = ARGUMENTS) -> Iterator[Browser]:
    """The browser, without which the test is skipped; but not where CI runs it."""
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have {CHROMIUM}")
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(arguments))
        yield opened
        opened.close()


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{re.sub('[^a-z]+', '-', name).strip('-')}.png", full_page=True)


def faults_of(page: Page, *, rules: list[str] | None = None) -> list[tuple[str, list[str]]]:
    """What axe finds, with everything open that can be opened."""
    for each in page.locator("details").all():
        each.evaluate("e => { e.open = true; }")
    found = Axe().run(page, options={"runOnly": rules or RULES}).response
    assert found["passes"]
    return [(fault["id"], [part["html"] for part in fault["nodes"]]) for fault in found["violations"]]


def theme_of(page: Page) -> str:
    """Which theme a page is shown in: dark or light."""
    return str(page.evaluate("getComputedStyle(document.documentElement).colorScheme"))


def show_in(page: Page, theme: str) -> None:
    """As if the reader had chosen this theme."""
    page.evaluate("media => { document.getElementById('light').media = media; }", "all" if theme == "light" else "not all")
    page.wait_for_function("theme => getComputedStyle(document.documentElement).colorScheme === theme", arg=theme)


def check_for_everyone(page: Page, *, sizes: Sequence[tuple[int, int]] = SIZES[:2]) -> None:
    """In both themes, on a screen and on a tablet."""
    assert faults_of(page) == []
    show_in(page, "light" if theme_of(page) == "dark" else "dark")
    assert faults_of(page, rules=["color-contrast"]) == []
    for width, height in sizes:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT) == []
