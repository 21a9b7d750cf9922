"""Every page of a hub, as an authority's people see it in a real browser: a fleet with alarms, a roll-out, a stop and a map."""

import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import furnished_hub
from looks import SIZES, check_for_everyone, picture, show_in, theme_of

sys.path.append(str(Path(__file__).parents[1] / "integration/hub"))

from hub_fleet import Running, running_hub

#: What has to be scrolled sideways, the page or a part of it.
SIDEWAYS = """() => [...document.querySelectorAll("html, body *")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
    || e === document.documentElement && e.scrollWidth > innerWidth)
  .map((e) => `${e.tagName} ${e.className}: ${e.scrollWidth} in ${e.clientWidth}`)"""
#: Text that is smaller than 11 px as it is drawn.
TINY = """() => {
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
    if (e.closest(".hidden, title, script")) continue;
    const scale = e.ownerSVGElement ? e.getScreenCTM().a : 1;
    const size = scale * parseFloat(getComputedStyle(e).fontSize);
    if (size < 11) found.push(`${size.toFixed(1)} px: ${e.textContent.trim().slice(0, 40)}`);
  }
  return found;
}"""


#: Contrast (WCAG 2.2, 1.4.3) of the words on each tile of the map with the tile over its card; axe does not look at SVG.
CONTRASTS = """() => {
  const numbers = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  return [...document.querySelectorAll(".map text")].map((e) => {
    const tile = getComputedStyle(e.parentElement.querySelector(".tile"));
    const card = numbers(getComputedStyle(e.closest(".card")).backgroundColor);
    const [fill, share] = tile.fill === "none" ? [card, 0] : [numbers(tile.fill), Number(tile.fillOpacity)];
    const behind = fill.map((c, k) => c * share + card[k] * (1 - share));
    const [a, b] = [light(numbers(getComputedStyle(e).fill)), light(behind)].sort((x, y) => y - x);
    return [e.textContent, (a + 0.05) / (b + 0.05)];
  });
}"""


@dataclass(frozen=True)
class Hub:
    running: Running
    fleet: furnished_hub.Fleet

    def path(self, place: str) -> str:
        fleet = self.fleet
        found = {"troubled": f"/sites/{fleet.troubled}", "quiet": f"/sites/{fleet.quiet}"}
        found |= {"rollout": f"/rollouts/{fleet.rollout}", "stop": f"/stops/{fleet.stop}"}
        return found.get(place, place)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("hub"), more=furnished_hub.SETTINGS) as running:
        yield Hub(running, furnished_hub.furnish(running.settings))


@pytest.fixture
def show(browser: Browser, hub: Hub) -> Iterator[Callable[..., Page]]:
    """Opens a page for someone who is logged in; what the browser complains of fails the test."""
    url, port, complaints = hub.running.pages, hub.running.settings.hub.port, []
    context = browser.new_context(viewport={"width": 1366, "height": 768}, ignore_https_errors=True, base_url=url)
    context.set_default_timeout(60_000)
    context.add_cookies(
        [
            {"name": f"__Host-pneumoscope-{port}", "value": hub.fleet.token, "url": url, "secure": True},
            {"name": "theme", "value": "dark", "url": url},
        ]
    )

    def _show(place: str) -> Page:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if place == "invited":
            page.goto("/")
            title = f"Hospital {secrets.token_hex(3)}"
            page.get_by_label("Title").last.fill(title)
            page.get_by_label("Province").last.fill("Hubei")
            page.get_by_role("button", name="Invite a hospital").click()
            page.get_by_role("heading", name=f"{title} is invited").wait_for()
            page.wait_for_load_state()  # a heading is there before its style
        else:
            page.goto(hub.path(place))
        return page

    yield _show
    context.close()
    assert [text for text in complaints if "404" not in text] == []


PLACES = ["/", "/?province=Hubei&days=7", "/?province=Gansu&text=none", "troubled", "quiet", "/rollouts", "rollout", "stop"]
PLACES += ["/account", "/people", "/audit", "/login?out=here", "/sites/none", "invited"]


@pytest.mark.parametrize("place", PLACES)
def test_everyone_can_use_every_page_of_a_hub(show, place: str) -> None:
    page = show(place)
    picture(page, f"hub-{place}")
    check_for_everyone(page, sizes=SIZES)


@pytest.mark.parametrize("place", PLACES)
def test_a_page_of_a_hub_is_read_on_a_usual_screen(show, place: str) -> None:
    page = show(place)
    assert page.evaluate(SIDEWAYS) == []
    assert page.evaluate(TINY) == []


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_words_stand_out_on_every_tile(show, theme: str) -> None:
    page = show("/")
    show_in(page, theme)
    strengths = page.locator(".map .tile").evaluate_all(
        "all => [...new Set(all.map(e => e.getAttribute('class').split(' ')[1]))]"
    )
    assert set(strengths) >= {"none", "s0", "s2", "s3", "s4", "s5"}, "s1 is like s0"
    found = page.evaluate(CONTRASTS)
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize("wished", ["dark", "light"])
def test_the_theme_is_the_browsers_until_one_is_chosen(browser: Browser, hub: Hub, wished: str) -> None:
    context = browser.new_context(ignore_https_errors=True, color_scheme=wished)
    page = context.new_page()
    page.goto(f"{hub.running.pages}/login")
    assert theme_of(page) == wished
    context.close()


def test_what_the_map_says_is_said_in_the_table_too(show) -> None:
    """A tile leads to its province, by keyboard as by mouse, and tells the same share as the row below."""
    page = show("/")
    tile = page.locator(".map a", has=page.locator("[aria-label^='Hubei: ']"))
    tile.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Hubei", exact=True).wait_for()
    shown = page.locator(".map a[aria-current] text.value").text_content()
    table = page.locator("section", has=page.get_by_role("heading", name="By province"))
    assert shown in table.locator("tr", has=page.get_by_role("link", name="Hubei", exact=True)).inner_text()
