"""The report in a real browser, at the sizes of a reading-room screen and a tablet."""

from dataclasses import replace

import pytest

from pneumoscope.records import Category, Reading
from pneumoscope.results.report import build_report
from support import tiny_reading

#: Contrast (WCAG 2.2, 1.4.3) of each piece of text with the nearest background that is painted behind it.
CONTRASTS = """() => {
  const numbers = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [.2126, .7152, .0722][k], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c }
    return [255, 255, 255] };
  const found = [];
  for (const e of document.querySelectorAll('body *:not(svg *)')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), e.tagName, e.textContent.slice(0, 40)]);
  }
  return found.filter(([ratio]) => ratio < 4.5);
}"""


@pytest.fixture
def show(browser, tmp_path):
    """Shows a reading's report; console messages and requests end up on the page object."""
    contexts = []

    def _show(reading: Reading, *, size=(1366, 768), scheme="dark"):
        contexts.append(browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme))
        page = contexts[-1].new_page()
        page.complaints, page.fetched = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.fetched.append(request.url))
        file = tmp_path / "report.html"
        file.write_bytes(build_report(reading).content)
        page.goto(file.as_uri())
        return page

    yield _show
    for context in contexts:
        context.close()


def opacity(page, selector: str = ".over >> nth=0") -> float:
    page.wait_for_timeout(250)  # the fade
    return float(page.locator(selector).evaluate("e => getComputedStyle(e).opacity"))


def test_it_loads_alone_and_without_complaint(show):
    page = show(tiny_reading())
    assert page.complaints == []
    assert [url for url in page.fetched if not url.startswith(("file:", "data:"))] == []
    assert page.locator("img").evaluate_all("all => all.every(e => e.complete && e.naturalWidth > 100)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 24)"  # the style was admitted


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (1024, 768), (768, 1024), (390, 844)])
def test_nothing_sticks_out(show, size):
    page = show(tiny_reading(PatientName="Hong^Gildong=洪^吉洞=홍^길동"), size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_finding_is_seen_first(show):
    page = show(tiny_reading())
    headline = page.locator("h1").bounding_box()
    assert headline["y"] < 150
    first = page.locator("figure >> nth=0").bounding_box()
    assert first["y"] < 500  # and its evidence without scrolling


def test_the_overlay_fades_and_goes(show):
    page = show(tiny_reading())
    assert opacity(page) == 1
    page.get_by_label("faint").check()
    assert 0.2 < opacity(page) < 0.7
    page.get_by_label("off").check()
    assert opacity(page) == 0
    page.emulate_media(media="print")
    assert opacity(page) == 1


def test_one_slice_at_a_time_by_keyboard_or_click(show):
    page = show(tiny_reading())
    page.get_by_label("Overlay on slice 9").focus()
    page.keyboard.press("Space")
    assert opacity(page) == 0
    assert opacity(page, ".over >> nth=1") == 1
    page.locator("figure .stack >> nth=0").click(position={"x": 60, "y": 60})
    assert opacity(page) == 1


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("doubtful", [False, True])
def test_text_stands_out(show, scheme, doubtful):
    reading = tiny_reading()
    if doubtful:
        scores = replace(reading.scores, probability=None, category=Category.CANNOT_SAY, reason="The lungs are cut off.")
        reading = replace(reading, scores=scores)
    page = show(reading, scheme=scheme)
    assert page.evaluate(CONTRASTS) == []
