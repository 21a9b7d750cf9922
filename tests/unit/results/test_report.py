import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pneumoscope.records import ZONES, Category, Reading, Region
from pneumoscope.results.diagrams import BAND_FILLS, BAND_LETTERS, zone_diagram_svg
from pneumoscope.results.report import build_report
from pneumoscope.results.words import percent, person_names
from support import tiny_reading

VOID = {"meta", "img", "input", "br", "link"}
#: Attributes that make a browser fetch something.
FETCHING = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def html_of(reading: Reading) -> str:
    return build_report(reading).content.decode("utf-8")


@pytest.fixture(scope="module")
def html() -> str:
    return html_of(tiny_reading())


def test_the_page_is_one_well_formed_file(html):
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert page.all("html")[0]["lang"] == "en"
    assert {"header", "main", "footer", "h1", "h2", "table"} <= {tag for tag, _ in page.tags}
    assert len(html) < 3_000_000


def test_nothing_is_fetched_or_run(html):
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in FETCHING & set(attributes):
            assert attributes[name].startswith(("data:image/jpeg;base64,", "#"))
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_admits_exactly_the_pages_own_style(html):
    policy = next(meta["content"] for meta in Page(html).all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_hostile_text_stays_text():
    evil = "<script>alert('1')</script>\"'&{{ 7*7 }}"
    reading = tiny_reading(PatientName=evil)
    study = replace(reading.study, StudyDescription=evil, PatientID=evil, AccessionNumber=evil, PatientSex=evil, StudyTime=evil)
    verdicts = tuple(replace(v, SeriesDescription=evil, reason=evil) for v in reading.verdicts)
    notices = tuple(replace(n, text=evil) for n in reading.notices)
    scores = replace(reading.scores, reason=evil, probability=None, category=Category.CANNOT_SAY)
    reading = replace(reading, volume=replace(reading.volume, study=study), verdicts=verdicts, notices=notices, scores=scores)
    page = Page(html_of(reading))
    assert not page.all("script")
    assert "".join(page.text).count(evil) >= 6


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Hong^Gildong=洪^吉洞=홍^길동", ("Hong Gildong", "洪 吉洞", "홍 길동")),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ("Yamada Tarou", "山田 太郎", "やまだ たろう")),
        ("=王^小东", ("王 小东",)),
        ("Smith^^^Dr^", ("Smith Dr",)),
        ("==", ()),
        ("", ()),
    ],
)
def test_names_in_all_writings(name, shown):
    assert person_names(name) == shown
    page = Page(html_of(tiny_reading(slices=9, size=32, PatientName=name)))
    assert [part for part in page.text if part in shown] == list(shown)


def test_every_picture_has_words(html):
    page = Page(html)
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    assert all(section["aria-label"] for section in page.all("section"))


def test_what_was_measured_and_by_what_is_on_the_page(html):
    reading, text = tiny_reading(), " ".join("".join(Page(html).text).split())
    for words in (
        "NOT FOR PRIMARY DIAGNOSIS",
        "0.83",
        "3 / 24",
        "right middle zone",
        reading.notices[0].text,
        "Topogram",
        "a localizer, not a stack of slices",
        reading.model.name,
        reading.model.device_uid,
        "2020-03-01 10:15",
        "1960-01-02",
        "other pneumonias can look the same",
        "does not exclude an infection",
    ):
        assert words in text


def test_cannot_say_is_the_headline():
    reading = tiny_reading()
    scores = replace(reading.scores, probability=None, category=Category.CANNOT_SAY, reason="The lungs are cut off.")
    html = html_of(replace(reading, scores=scores))
    assert "<h1>Cannot say. The lungs are cut off.</h1>" in html
    assert "0.83" not in html


def test_readings_without_lesion_lung_or_dicom():
    assert "Slices for orientation" in html_of(tiny_reading(lesions=False))
    assert "A volume file" in html_of(replace(tiny_reading(with_dicom=False), verdicts=()))
    reading = tiny_reading(slices=9, size=32)
    empty = tuple(replace(f, volume_ml=0.0, ground_glass_ml=0.0, consolidation_ml=0.0, mean_hu=0.0) for f in reading.findings)
    masks = replace(reading.masks, lungs=reading.masks.lungs * 0, lesions=reading.masks.lesions * 0)
    assert "no slice to show" in html_of(replace(reading, findings=empty, masks=masks, key_slices=()))


def test_the_same_reading_gives_the_same_bytes(html):
    assert html_of(tiny_reading()) == html


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("fill", "letters"), list(zip(BAND_FILLS, BAND_LETTERS, strict=True)))
def test_zone_numbers_can_be_read_on_their_fill(fill, letters):
    assert contrast(fill, letters) >= 4.5


def test_zone_diagram_names_the_shares():
    reading = tiny_reading()
    share = percent(reading.finding(Region.RIGHT_MIDDLE).share)
    assert f"right middle zone {share}" in zone_diagram_svg({zone: reading.finding(zone).share for zone in ZONES})
    assert f">{share}</text>" in zone_diagram_svg({zone: reading.finding(zone).share for zone in ZONES})
