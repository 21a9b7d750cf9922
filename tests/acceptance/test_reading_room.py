"""The worklist and the page of a study, as a radiologist uses them: on a node that received phantoms by DICOM."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

import furnished
from looks import SIZES, check_for_everyone, faults_of, picture, theme_of
from pneumoscope.records import Priority
from pneumoscope.store import Database, studies, urgency
from pneumoscope.store.schema import study
from reading_room import send_all
from servers import Node, wait_for
from servers import node as running_node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("room"), f"\n[arrival]\nquiet_s = 1\n{furnished.SETTINGS}") as running:
        yield running


@pytest.fixture(scope="module")
def uids(node: Node, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return send_all(node, tmp_path_factory.mktemp("sent"))


@pytest.fixture
def show(browser, node: Node, uids: dict[str, str]) -> Iterator[Callable[..., object]]:
    """Opens a page for someone; what the browser complains of and what it asks for end up on the page object."""
    contexts = []

    def _show(path: str = "/", *, size=(1366, 768), theme: str = "dark", language: str = "en", **more):
        width, height = size
        context = browser.new_context(viewport={"width": width, "height": height}, locale=language, **more)
        context.set_default_timeout(60_000)
        if theme:  # else the reader has not chosen
            context.add_cookies([{"name": "theme", "value": theme, "url": node.url}])
        contexts.append(context)
        page = context.new_page()
        page.complaints, page.fetched = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.fetched.append(request.url))
        page.goto(node.url + path)
        return page

    yield _show
    for context in contexts:
        context.close()


def shown(page) -> list[str]:
    return page.locator("tr[id]").evaluate_all("all => all.map(row => row.id.slice(1))")


def wait_for_rows(page, expected: list[str]) -> None:
    page.wait_for_function(
        "expected => JSON.stringify([...document.querySelectorAll('tr[id]')].map(row => row.id.slice(1))) === expected",
        arg=json.dumps(expected, separators=(",", ":")),
    )


def loaded(page, selector: str) -> bool:
    page.locator(selector).first.wait_for(state="attached")
    page.wait_for_function("all => [...document.querySelectorAll(all)].every(e => e.complete)", arg=selector)
    return page.locator(selector).evaluate_all("all => all.length > 0 && all.every(e => e.naturalWidth > 100)")


def test_the_worst_study_is_on_top_and_two_clicks_show_why(show, node: Node, uids: dict[str, str]) -> None:
    page = show()
    assert shown(page) == [uids[key] for key in ("worst", "before", "refused", "clear", "namesake")]
    first = page.locator("tr[id] >> nth=0")
    assert "Hong Gildong" in first.inner_text()
    assert re.search(r"sign score 0\.\d\d", first.inner_text())
    assert loaded(page, ".thumb img")
    assert first.locator(".lungs use").count() == 2
    first.locator("a").click()
    assert page.locator("h2.headline").inner_text().startswith("Sign of pneumonia of the COVID-19 pattern: ")
    page.wait_for_load_state()
    assert page.locator(".stack").first.bounding_box()["y"] < 600  # its evidence without scrolling
    assert loaded(page, ".stack img")
    assert page.complaints == []
    assert [url for url in page.fetched if not url.startswith((node.url, "data:"))] == []


def test_what_was_refused_is_seen_with_its_reason_and_a_way_on(show, uids: dict[str, str]) -> None:
    row = show().locator(f"[id='s{uids['refused']}']")
    assert "it has 4 slices at different positions; at least 10 are needed." in row.inner_text()
    assert row.get_by_role("button", name="Read again").is_visible()
    german = show("/", language="de").locator(f"[id='s{uids['refused']}']")
    assert (
        "Die einzige Serie kann nicht befundet werden: Sie hat 4 Schichten an verschiedenen Positionen; "
        "mindestens 10 sind nötig."
    ) in german.inner_text()
    assert german.locator("[lang=en]").count() == 0


def test_a_change_by_another_process_comes_by_itself(show, node: Node, uids: dict[str, str]) -> None:
    page = show()
    page.evaluate("window.sameDocument = true")
    picture = page.locator(f"[id='s{uids['worst']}'] img").element_handle()
    database = Database(f"sqlite:///{node.folder / 'kept' / 'node.sqlite'}")
    rest = [uid for uid in shown(page) if uid != uids["clear"]]
    for priority, expected in (
        (Priority.EMERGENCY, [uids["clear"], *rest]),
        (Priority.ROUTINE, [*rest[:3], uids["clear"], rest[3]]),
    ):
        with database.begin() as db:
            db.execute(study.update().where(study.c.StudyInstanceUID == uids["clear"]).values(priority=priority))
            urgency.refresh(db, uids["clear"])
        wait_for_rows(page, expected)
    database.close()
    assert page.evaluate("window.sameDocument") is True
    assert picture.evaluate("e => e.isConnected")  # a row that says the same is the same
    assert page.complaints == []


def test_the_list_goes_by_keys(show, uids: dict[str, str]) -> None:
    page = show()
    focused = "document.activeElement.closest('tr')?.id.slice(1)"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == uids["worst"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == uids["before"]
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    page.keyboard.press("/")
    page.keyboard.type("홍길동 p-2")
    wait_for_rows(page, [uids["worst"], uids["before"]])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{uids['worst']}")
    page.go_back()
    wait_for_rows(page, [uids["worst"], uids["before"]])  # as it was left


def test_filters_narrow_without_leaving_the_page(show, uids: dict[str, str]) -> None:
    page = show()
    page.get_by_label("finding").select_option("no sign")
    wait_for_rows(page, [uids["clear"], uids["namesake"]])
    page.get_by_label("finding").select_option("")
    page.get_by_label("state").select_option("refused")
    wait_for_rows(page, [uids["refused"]])
    assert page.url.endswith("/?state=refused")
    page.get_by_label("until").fill("2020-03-02")
    page.get_by_text("No study is like that.").wait_for()
    page.get_by_label("state").select_option("")
    wait_for_rows(page, [uids["before"]])


def test_a_way_back_to_all_studies_comes_with_the_filter(show, uids: dict[str, str]) -> None:
    page = show()
    show_all = page.get_by_role("link", name="Show all")
    assert show_all.count() == 0
    page.keyboard.press("/")
    page.keyboard.type("홍길동 p-2")
    wait_for_rows(page, [uids["worst"], uids["before"]])
    show_all.press("Enter")
    wait_for_rows(page, [uids[key] for key in ("worst", "before", "refused", "clear", "namesake")])
    assert page.locator("input[type=search]").input_value() == ""
    assert show_all.count() == 0
    page = show("/?state=refused")
    page.get_by_label("state").select_option("failed")
    page.get_by_text("No study is like that.").wait_for()
    page.get_by_role("button", name="Light").click()  # what was asked for outlives a change of the theme
    page.wait_for_url("**/?state=failed")
    page.get_by_text("No study is like that.").wait_for()
    page.get_by_label("state").select_option("")
    wait_for_rows(page, [uids[key] for key in ("worst", "before", "refused", "clear", "namesake")])
    assert page.get_by_role("link", name="Show all").count() == 0


def test_the_overlay_fades(show, uids: dict[str, str]) -> None:
    page = show(f"/studies/{uids['worst']}")
    opacity = "getComputedStyle(document.querySelector('.over')).opacity"
    assert page.evaluate(opacity) == "1"
    page.get_by_label("overlay").fill("40")
    assert page.evaluate(opacity) == "0.4"
    page.locator("body").press("o")
    assert page.evaluate(opacity) == "0"
    page.locator("body").press("o")
    assert page.evaluate(opacity) == "0.4"
    # slice and overlay are pictures of the same size, and the overlay can be seen through
    sizes = page.locator(".stack").first.locator("img").evaluate_all("all => all.map(e => [e.naturalWidth, e.naturalHeight])")
    assert sizes[0] == sizes[1]
    clear = """async () => { const image = document.querySelector('.over'); await image.decode();
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext("2d");
      canvas.drawImage(image, 0, 0);
      const alpha = canvas.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data.filter((_, k) => k % 4 === 3);
      return [alpha.filter(a => a === 0).length / alpha.length, Math.max(...new Set(alpha))]; }"""
    share, most = page.evaluate(clear)
    assert 0.5 < share < 0.99
    assert most > 200


def test_what_came_before_is_of_the_same_person(show, uids: dict[str, str]) -> None:
    page = show(f"/studies/{uids['worst']}")
    section = page.locator("section", has=page.locator("#earlier"))
    assert section.locator("tbody a").evaluate_all("all => all.map(a => a.getAttribute('href'))") == [
        f"/studies/{uids['before']}"
    ]
    assert "1 study has the same ID but another name or birth date" in section.inner_text()
    plot = section.locator("svg.trend")
    assert "2020-03-01" in plot.get_attribute("aria-label")
    assert plot.locator("circle.both").count() == 2
    alone = show(f"/studies/{uids['clear']}")
    assert alone.locator("#earlier").count() == 0


@pytest.mark.parametrize(
    ("zone", "offset", "hours"), [("Asia/Seoul", "GMT+9", 9), ("America/New_York", "GMT-", None), ("UTC", "UTC", 0)]
)
def test_times_are_of_the_reader_and_dates_of_the_study(show, uids: dict[str, str], zone: str, offset: str, hours: int) -> None:
    page = show(f"/studies/{uids['worst']}", timezone_id=zone, language="ko")
    time = page.locator("time.moment").first
    written, meant = time.inner_text(), time.get_attribute("datetime")
    assert offset in written or zone == "UTC"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", written)
    if hours is not None:
        assert int(written[11:13]) == (int(meant[11:13]) + hours) % 24
    assert "2020-03-15" in page.locator(".patient").inner_text()


def test_it_works_without_scripts(show, uids: dict[str, str]) -> None:
    page = show("/?q=gildong", java_script_enabled=False)
    assert shown(page) == [uids["worst"], uids["before"]]
    assert page.get_by_role("button", name="Search").is_visible()
    assert page.locator("time.moment").first.inner_text().endswith(" UTC")
    page.get_by_label("Language").select_option("de")
    page.get_by_role("button", name="Use it").click()
    page.get_by_role("button", name="Suchen").wait_for()
    assert shown(page) == [uids["worst"], uids["before"]]


@pytest.mark.parametrize(
    ("language", "sentence", "zone", "warning"),
    [
        (
            "ko",
            "COVID-19 양상 폐렴의 징후 있음: 폐의 ",
            "우측 중간 구역",
            "단면의 두께 또는 간격이 10.0 mm입니다. 5 mm를 넘으면 작은 병변을 놓칠 수 있습니다.",
        ),
        (
            "zh-CN",
            "有 COVID-19 型肺炎征象：肺部受累 ",
            "右中肺区",
            "层厚或层间距为 10.0 mm；超过 5 mm 时可能漏掉小病灶。",
        ),
        (
            "de",
            "Zeichen einer Pneumonie mit COVID-19-typischem Muster: ",
            "rechtes Mittelfeld",
            "Die Schichten sind 10,0 mm dick oder auseinander; über 5 mm können kleine Läsionen übersehen werden.",
        ),
    ],
)
def test_the_finding_is_said_in_the_readers_language(
    show, uids: dict[str, str], language: str, sentence: str, zone: str, warning: str
) -> None:
    page = show(f"/studies/{uids['worst']}", language=language)
    assert page.locator("h2.headline").inner_text().startswith(sentence)
    assert zone in page.locator("h2.headline").inner_text()
    assert warning in page.locator("#finding").inner_text()
    assert page.locator("section [lang=en]").all_inner_texts() == []
    picture(page, f"study {language}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1366


@pytest.mark.parametrize("place", ["/", "worst", "refused", "/upload"])
def test_everyone_can_use_it(show, uids: dict[str, str], place: str) -> None:
    page = show(f"/studies/{uids[place]}" if place in uids else place, language="de")
    assert theme_of(page) == "dark"
    check_for_everyone(page)


@pytest.mark.parametrize(
    ("wished", "chosen", "expected"),
    [("light", "", "dark"), ("light", "light", "light"), ("dark", "light", "light")],
)
def test_the_theme_is_dark_until_light_is_chosen(show, wished: str, chosen: str, expected: str) -> None:
    page = show(theme=chosen, color_scheme=wished)
    assert theme_of(page) == expected
    picture(page, f"theme {wished} wished {chosen or 'nothing'} chosen")
    assert faults_of(page) == []
    other = {"light": "Dark", "dark": "Light"}[expected]
    assert page.get_by_role("button", name=re.compile("^(Dark|Light)$")).all_inner_texts() == [other]
    page.get_by_role("button", name=other, exact=True).click()
    page.wait_for_function("theme => getComputedStyle(document.documentElement).colorScheme === theme", arg=other.lower())
    page.reload()
    assert theme_of(page) == other.lower()


#: Every colour that the page's ground had in a frame that was drawn.
GROUNDS = """window.grounds = new Set();
const look = () => {
  if (document.body) window.grounds.add(getComputedStyle(document.body).backgroundColor);
  requestAnimationFrame(look);
};
requestAnimationFrame(look);"""


@pytest.mark.parametrize(("chosen", "ground"), [("light", "rgb(238, 241, 244)"), ("dark", "rgb(15, 20, 24)")])
def test_the_other_theme_is_never_seen(show, node: Node, chosen: str, ground: str) -> None:
    page = show("/static/page.css", theme=chosen, color_scheme={"light": "dark", "dark": "light"}[chosen])
    page.add_init_script(GROUNDS)
    held = []

    def hold(route: object) -> None:
        held.append(route)

    page.route("**/light.css", hold)
    page.goto(node.url, wait_until="commit")
    page.locator("footer").wait_for(state="attached")
    wait_for(lambda: held or page.wait_for_timeout(50), seconds=60, what="the light style to be asked for")
    page.wait_for_timeout(500)  # room for a flash
    if chosen == "light":
        held[0].continue_()
    page.wait_for_function("() => window.grounds.size > 0")
    assert page.evaluate("() => [...window.grounds]") == [ground]


def test_the_help_can_be_used_by_everyone(show) -> None:
    page = show()
    page.get_by_role("button", name="Help").click()
    assert faults_of(page) == []


#: How much wider a placeholder is than the room that its field has for it, in CSS pixels.
OVERHANG = """(field) => {
  const style = getComputedStyle(field), pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return pen.measureText(field.placeholder).width - room;
}"""


@pytest.mark.parametrize("language", ["en", "ko", "zh-CN", "de"])
def test_what_can_be_searched_for_is_read_to_its_end(show, language: str) -> None:
    page = show(language=language)
    for name, (width, height) in zip(("screen", "tablet", "upright", "phone"), (*SIZES, (320, 640)), strict=True):
        page.set_viewport_size({"width": width, "height": height})
        picture(page, f"search {language} {name}")
        assert page.locator("input[type=search]").evaluate(OVERHANG) <= 0, name


@pytest.mark.parametrize("size", SIZES)
def test_nothing_sticks_out(show, uids: dict[str, str], size: tuple[int, int]) -> None:
    page = show("/", size=size, language="de", has_touch=True)
    for path in ("/", f"/studies/{uids['worst']}", f"/studies/{uids['refused']}"):
        page.goto(re.sub(r"(//[^/]+)/.*", rf"\1{path}", page.url))
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_study_is_printed_on_few_pages(show, uids: dict[str, str]) -> None:
    page = show(f"/studies/{uids['worst']}", theme="dark")
    assert loaded(page, ".stack img")
    printed = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "12mm"))
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 3
    page.emulate_media(media="print")
    for selector in ("header nav", ".tools", ".fade", ".audit-card", "#answers"):  # nobody has answered yet
        assert not page.locator(selector).first.is_visible()
    for selector in (".diagnosis", ".headline", ".stack .over", ".numbers", ".zones svg", ".limits"):
        assert page.locator(selector).first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_page_that_waits_shows_its_result_and_one_that_is_read_says_it_is_old(show, node: Node, uids: dict[str, str]) -> None:
    waits, is_read = show(f"/studies/{uids['refused']}"), show(f"/studies/{uids['namesake']}")
    headline = is_read.locator("h2.headline").inner_text()
    database = Database(f"sqlite:///{node.folder / 'kept' / 'node.sqlite'}")
    with database.begin() as db:
        for key in ("refused", "namesake"):
            assert studies.read_again(db, uids[key])
    database.close()
    waits.locator("#version-2").wait_for()
    is_read.get_by_text("This study has changed since.").wait_for()
    assert is_read.locator("h2.headline").inner_text() == headline
    assert is_read.locator("#version-2").count() == 0
    is_read.get_by_role("link", name="Show it as it is now").click()
    is_read.locator("#version-2").wait_for()


@pytest.fixture(scope="module")
def kim(node: Node, uids: dict[str, str]) -> furnished.Person:
    """From here on the model is in shadow, and the clear study is held."""
    return furnished.furnish(node, offered=uids["worst"], held=uids["clear"])


PLACES = [
    "/account",
    "/people",
    "/audit",
    "/agreement",
    "/service",
    "/others",
    "/partners",
    "/guest/none?secret=x",
    "/login?out=here",
]
PLACES += ["/guest/none/done", "/together/none", "/studies/1.2", "offered", "held", "together"]


@pytest.mark.parametrize("place", PLACES)
def test_everyone_can_use_every_page(show, node: Node, uids: dict[str, str], kim: furnished.Person, place: str) -> None:
    paths = {"offered": f"/studies/{uids['worst']}", "held": f"/studies/{uids['clear']}", "together": "/login"}
    page = show("/static/page.css", language="de", ignore_https_errors=True)
    page.context.add_cookies([{"name": f"pneumoscope-{node.http_port}", "value": kim.token, "url": node.url}])
    if place == "together":
        begun = page.request.post(f"{node.url}/studies/{uids['worst']}/together", headers={"X-Requested-With": "pneumoscope"})
        page.goto(begun.url)
        page.get_by_text("Schicht").first.wait_for()
    else:
        page.goto(node.url + paths.get(place, place))
    picture(page, place)
    check_for_everyone(page)
