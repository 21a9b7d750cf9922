"""The authority's pages over a small invented fleet: what they show, hide, refuse and export."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fhir.resources.R4B.bundle import Bundle
from starlette.testclient import TestClient

from fleet_maker import DAY, MODEL, NEW_MODEL, candidate, midnight, model_window, report, window
from pneumoscope.config import Http, Hub, HubPolicy, Node, Program, Role, Settings
from pneumoscope.fleet.messages import Alarm, AlarmKind, Answer, Mode, Offer, Policy, WishStage, WishState
from pneumoscope.hub import pages, steering
from pneumoscope.hub.prepare import open_authority, prepare
from pneumoscope.hub.taking import Said, take
from pneumoscope.store import Store, accounts, audit, now, passwords, rollouts, sites, stops
from pneumoscope.store.hub_schema import site
from pneumoscope.store.sites import Caller

FULL, MONITOR = "full-token-0123456789", "monitor-token-0123456789"
TITLES = ["First Hospital", "Second Hospital", "Hospital <Three>", "Quiet Hospital", "Small Hospital"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Store, dict[str, Caller]]]:
    monitor = Program(name="watcher", token=MONITOR, roles=(Role.MONITOR,))
    settings = Settings(node=Node(folder=tmp_path_factory.mktemp("hub")), http=Http(tokens=(FULL,), programs=(monitor,)))
    store = prepare(settings)
    callers = fill(store)
    with TestClient(pages.build(settings, store, open_authority(settings)), base_url="https://localhost:8443") as client:
        yield client, store, callers
    store.database.close()


def fill(store: Store) -> dict[str, Caller]:
    callers = {}
    with store.database.begin() as db:
        for number, title in enumerate(TITLES):
            secret = f"secret {number}"
            province = "Hubei" if number < 3 else "Hunan"
            site_id = sites.invite(db, title=title, province=province, secret=secret, until=now() + DAY)
            sites.joined(db, site_id, serial=str(number), until=now() + DAY)
            callers[title] = Caller(site=site_id, serial=str(number))
        sites.invite(db, title="Invited Hospital", province="Hunan", secret="secret", until=now() + DAY)
        failing = Alarm(kind=AlarmKind.FAILURES, since=now(), value=0.2, limit=0.1)
        told = {
            "First Hospital": report(*(window(midnight(days_ago=day)) for day in (3, 2, 1))),
            "Second Hospital": report(window(midnight(days_ago=1)), alarms=(failing,)),
            "Hospital <Three>": report(window(midnight(days_ago=1)), mode=Mode.SHADOW),
            "Small Hospital": report(
                window(
                    midnight(days_ago=1),
                    model_window(read=6, sign=None, categories={Answer.SIGN: None, Answer.NO_SIGN: None}),
                    studies=6,
                )
            ),
        }
        take(db, [Said(caller=callers[title], report=one) for title, one in told.items()], policy=Policy())
        db.execute(
            site.update().where(site.c.title == "Quiet Hospital").values(heard_at=now() - timedelta(hours=3), ready=True)
        )
        offered = Offer(model=NEW_MODEL, sha256="b" * 64, size_bytes=1000)
        rollouts.add_offer(db, one=offered, device_uid="2.25.3", key="bundles/b.zip", signer="maker (0011)")
    return callers


def as_program(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "accept": "text/html"}


def test_the_overview_tells_trouble_shares_and_hidden_counts(hub) -> None:
    client, _, _ = hub
    answer = client.get("/", headers=as_program(MONITOR))
    assert answer.status_code == 200
    text = answer.text
    assert "Of all readings, 20 % have failed since" in text
    assert "Hospital &lt;Three&gt;" in text
    assert ">silent<" in text
    assert ">in shadow<" in text
    assert "Invited Hospital" in text
    small = text.split('id="hospitals"')[1].split("Small Hospital")[1].split("</tr>")[0]
    assert re.search(r"<td>6</td>", small)
    rows = text.split("<h2>By province</h2>")[1]
    hunan = rows.split(">Hunan<")[1].split("</tr>")[0]
    assert '<td>≈ 2 <span class="dim">1 to 5</span></td>' in hunan
    hubei = rows.split(">Hubei<")[1].split("</tr>")[0]
    assert "<td>200</td><td>50</td>" in hubei
    assert "<b>25.0 %</b>" in hubei
    assert 'class="curve"' in text
    tile = text.split('class="map"')[1].split("</svg>")[0].split("</a>")[0]
    assert re.search(
        r'<a href="/\?.*province=Hubei.*"><g role="img" aria-label="Hubei: 25.0 % with signs, 1 hospital in t', tile
    )
    assert 'class="sign"' in tile, "not by colour alone"
    assert 'style="' not in text  # the policy of our pages allows none


@pytest.mark.parametrize(
    "order",
    ["title", "province", "mode", "model", "studies", "positive", "heavy", "agreement", "waiting", "heard", "alarms", "x"],
)
def test_hospitals_are_sorted_and_filtered(hub, order: str) -> None:
    client, _, _ = hub
    for down in ("true", "false"):
        answer = client.get("/", params={"order": order, "down": down, "province": "Hubei"}, headers=as_program(MONITOR))
        assert answer.status_code == 200
        table = answer.text.split('id="hospitals"')[1]
        assert "Hospitals: 3" in table
        assert table.count('<th scope="row">') == 3
    found = client.get("/", params={"text": "small", "trouble": "false"}, headers=as_program(MONITOR)).text
    assert "Hospitals: 1" in found


def test_a_site_has_its_windows_and_its_alarms(hub) -> None:
    client, _, callers = hub
    text = client.get(f"/sites/{callers['Second Hospital'].site}", headers=as_program(MONITOR)).text
    assert "Of all readings, 20 % have failed since" in text
    assert "lung-lesion 1.0.0" in text
    assert client.get("/sites/none", headers=as_program(MONITOR)).status_code == 404


def test_exports_are_tables_and_valid_fhir(hub) -> None:
    client, _, _ = hub
    rows = list(csv.DictReader(io.StringIO(client.get("/export.csv", headers=as_program(MONITOR)).text)))
    assert len(rows) == 6
    small = next(row for row in rows if row["site"] == "Small Hospital")
    assert (small["sign_least"], small["sign_most"], small["read_least"]) == ("1", "5", "6")
    answer = client.get("/export/measure-report", headers=as_program(MONITOR))
    assert answer.headers["content-type"] == "application/fhir+json"
    bundle = Bundle.model_validate(answer.json())
    reports = {entry.resource.subject.display: entry.resource for entry in bundle.entry}
    assert set(reports) == {"Hubei", "Hunan"}
    assert [one.count for one in reports["Hubei"].group[0].population] == [200, 200, 50]
    hidden = answer.json()["entry"][1]["resource"]["group"][0]["population"][2]
    assert "count" not in hidden
    assert hidden["extension"][0]["valueRange"] == {"low": {"value": 1}, "high": {"value": 5}}


def test_who_may_see_may_not_act(hub) -> None:
    client, _, callers = hub
    answer = client.post(f"/sites/{callers['First Hospital'].site}/shut-out", headers=as_program(MONITOR))
    assert answer.status_code == 403
    acts = ("/rollouts", "/rollouts/x/pause", "/rollouts/x/resume", "/rollouts/x/back", "/stops", "/stops/x/lift")
    for path in ("/invite", *acts):
        assert client.post(path, data={"model": "m"}).status_code == 401
        assert client.post(path, data={"model": "m"}, headers=as_program(MONITOR)).status_code == 403
    for path in ("/", "/rollouts", "/export.csv", "/sites/x", "/stops/x"):
        assert client.get(path).status_code == 401


def test_an_administrator_steers_a_roll_out_by_buttons(hub) -> None:
    client, store, callers = hub
    headers = as_program(FULL)
    wrong = client.post("/rollouts", data={"model": NEW_MODEL, "canaries": "Nobody", "shares": "50"}, headers=headers)
    assert (wrong.status_code, "no site" in wrong.text) == (400, True)
    given = {"model": NEW_MODEL, "canaries": "First Hospital\nHospital <Three>", "shares": "50"}
    answer = client.post("/rollouts", data=given, headers=headers, follow_redirects=False)
    place = answer.headers["location"]
    with store.database.begin() as db:
        rollout_id = place.rsplit("/", 1)[1]
        refused = WishState(rollout=rollout_id, stage=WishStage.REFUSED, code="model-unsigned")
        told = report(window(midnight(), candidate()), wish=refused)
        take(db, [Said(caller=callers["First Hospital"], report=told)], policy=Policy())
    text = client.get(place, headers=headers).text
    assert "model-unsigned" in text
    assert "1 of 2 sites refused it" in text
    assert "canaries, beside the present model" in text
    for verb, state in (("pause", "paused"), ("resume", "running"), ("back", "back")):
        assert (
            client.post(f"{place}/{verb}", data={"reason": "a try"}, headers=headers, follow_redirects=False).status_code == 303
        )
        with store.database.look() as db:
            row = rollouts.get(db, rollout_id)
            assert row is not None
            assert row["state"] == state
    assert client.post(f"{place}/pause", headers=headers).status_code == 400
    assert "a try" in client.get(place, headers=headers).text
    assert "Models and roll-outs" in client.get("/rollouts", headers=headers).text
    with store.database.look() as db:
        assert any("Roll-out of lung-lesion 2.0.0: pause, a try" in entry["detail"] for entry in audit.entries(db))


def test_an_administrator_stops_a_model_everywhere_by_a_button(hub) -> None:
    client, store, callers = hub
    headers = as_program(FULL)
    listed = client.get("/rollouts", headers=headers).text.split('action="/stops"')[1]
    assert f"<option>{MODEL}</option>" in listed
    assert client.post("/stops", data={"model": MODEL, "reason": " "}, headers=headers).status_code == 400
    answer = client.post("/stops", data={"model": MODEL, "reason": "wrong <on> some"}, headers=headers, follow_redirects=False)
    place = answer.headers["location"]
    with store.database.begin() as db:
        take(db, [Said(caller=callers["First Hospital"], report=report(mode=Mode.STOPPED))], policy=Policy())
    text = client.get(place, headers=headers).text
    assert "wrong &lt;on&gt; some" in text
    assert re.search(r"First Hospital.*<span class=\"state stopped\">stopped</span>", text)
    assert re.search(r"Second Hospital.*in service, not heard since", text)
    overview = client.get("/", headers=as_program(MONITOR)).text
    troubles = overview.split("In trouble: ")[1].split("</table>")[0]
    assert f"<li>{MODEL} is out of service there.</li>" in troubles.split("First Hospital")[1].split("</tr>")[0]
    assert re.search(r"is to be out of service everywhere: .*<b>1</b> stopped", overview)
    assert client.post(f"{place}/lift", headers=headers, follow_redirects=False).status_code == 303
    assert client.post(f"{place}/lift", headers=headers).status_code == 400
    assert "is to be out of service" not in client.get("/", headers=headers).text
    assert client.get("/stops/none", headers=headers).status_code == 404
    with store.database.look() as db:
        assert any("is to be stopped at every site: wrong <on> some" in entry["detail"] for entry in audit.entries(db))


def test_a_monitor_measures_the_fleet_and_no_site_is_named(hub) -> None:
    client, store, _ = hub
    assert client.get("/metrics").status_code == 401
    text = client.get("/metrics", headers=as_program(MONITOR)).text
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("pneumoscope_hub_"))

    def value(name: str) -> float:
        return float(told[f"pneumoscope_hub_{name}"])

    members = sum(value(f'sites{{state="{state}"}}') for state in ("live", "shadow", "stopped", "unheard"))
    assert (members, value('sites{state="invited"}')) == (len(TITLES), 1)
    assert value('sites_heard{minutes="5"}') == len(TITLES) - 1
    assert value('sites_heard{minutes="1440"}') == len(TITLES)
    assert value('report_age_seconds{quantile="0.5"}') < 3600 < 10_000 < value('report_age_seconds{quantile="1"}')
    assert value('alarms{kind="failures"}') == 1
    assert value('rollouts{state="back"}') >= 0
    assert not any(title in text for title in (*TITLES, "Hubei", "Hunan"))
    with store.database.begin() as db:
        stop_id = steering.stop(db, MODEL, actor="test", reason="odd")
    assert (
        'pneumoscope_hub_stop_sites{heed="unheard",model="lung-lesion 1.0.0"}'
        in client.get("/metrics", headers=as_program(MONITOR)).text
    )
    with store.database.begin() as db:
        steering.lift(db, stops.get(db, stop_id), actor="test")


def test_people_log_in_and_their_forms_are_theirs(hub) -> None:
    client, store, _ = hub
    password = passwords.make()
    with store.database.begin() as db:
        made = accounts.add(db, login="boss", roles=["administrator"], password_hash=passwords.hashed(password))
        assert made is not None
        accounts.set_password(db, made, passwords.hashed(password), must_change=False)
    answer = client.post(
        "/login",
        data={"login": "boss", "password": password},
        headers={"origin": "https://localhost:8443"},
        follow_redirects=False,
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = client.get("/", headers={"accept": "text/html"})
    assert "Pneumoscope hub" in page.text
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert csrf is not None
    assert client.post("/stops", data={"model": MODEL, "reason": "forged"}).status_code == 403
    form = {"title": "New Hospital", "province": "Hubei"}
    assert client.post("/invite", data=form).status_code == 403
    invited = client.post("/invite", data={"csrf": csrf[1], **form})
    assert "pneumoscope-join-" in invited.text
    assert "Log out" in client.get("/account").text
    client.cookies.clear()


def test_a_hub_says_what_of_its_settings_is_wrong() -> None:
    with pytest.raises(ValueError, match="two ports"):
        Hub(port=1, sites_port=1)
    assert HubPolicy().window_s == 86_400
    assert steering.check_shares([0.1]) == [0.1, 1.0]
