"""A hub as it runs: a node joins by a token, reports over mutual TLS, and is refused in every other way."""

import hashlib
import json
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hub_fleet import Running, Site, join, post_join, request, running_hub

from fleet_maker import midnight, model_window, report, window
from pneumoscope.errors import OperatorNeeded
from pneumoscope.fleet.messages import Orders, Wish, WishKind
from pneumoscope.hub import steering
from pneumoscope.hub.authority import Authority
from pneumoscope.hub.inviting import shut_out
from pneumoscope.hub.prepare import prepare
from pneumoscope.intake.archive import unpack
from pneumoscope.models import DEFAULT_BUNDLE, examine, trust
from pneumoscope.store import Database, now
from pneumoscope.store.hub_schema import invitation

MONITOR = "monitor-token-0123456789"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    program = f'[[http.programs]]\nname = "watcher"\ntoken = "{MONITOR}"\nroles = ["monitor"]\n'
    with running_hub(tmp_path_factory.mktemp("hub"), more=program) as found:
        yield found


@pytest.fixture(scope="module")
def site(hub: Running, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return join(hub.invite("First Hospital"), tmp_path_factory.mktemp("site") / "fleet")


def test_a_site_reports_and_its_windows_are_kept_once(hub: Running, site: Site) -> None:
    start = midnight(days_ago=1)
    told = report(window(start))
    for _ in range(2):
        answer = site.report(told)
        assert answer.status_code == 200, answer.text
        orders = Orders.model_validate_json(answer.content)
        assert (orders.site, orders.title, orders.province) == (site.id, "First Hospital", "Hubei")
        assert orders.kept == (start,)
        assert orders.policy.every_s == hub.settings.hub.policy.every_s
        assert orders.wish is None


def test_nobody_reports_without_a_certificate_of_this_hub(hub: Running, site: Site, tmp_path: Path) -> None:
    told = report().model_dump_json()
    context = ssl.create_default_context(cafile=hub.settings.node.folder / "hub" / "authority.pem")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError)):
        httpx.post(f"{site.url}/report", content=told, verify=context)
    other = Authority(tmp_path / "other")
    certificate, _, _ = other.sign_site(request(site.key), site.id, days=1)
    forged = Site(tmp_path / "forged", {**answer_of(hub, site), "certificate": certificate}, site.key)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError, httpx.WriteError)):
        forged.report(report())


def answer_of(hub: Running, site: Site) -> dict[str, str]:
    authority = (hub.settings.node.folder / "hub" / "authority.pem").read_text()
    return {"site": site.id, "reports_url": site.url, "authority": authority}


def test_a_token_joins_once_and_not_for_ever(hub: Running) -> None:
    token, key = hub.invite("Second Hospital"), ec.generate_private_key(ec.SECP256R1())
    assert post_join(token, key).status_code == 200
    again = post_join(token, key)
    assert (again.status_code, again.json()["code"]) == (409, "token-used")
    late = hub.invite("", again="Second Hospital")
    database = Database(hub.settings.database_url)
    with database.begin() as db:
        db.execute(invitation.update().values(until=now() - timedelta(seconds=1)))
    database.close()
    expired = post_join(late, key)
    assert (expired.status_code, expired.json()["code"]) == (410, "token-expired")


def test_a_site_renews_and_the_old_certificate_ends_with_the_first_use_of_the_new(hub: Running, tmp_path: Path) -> None:
    site = join(hub.invite("Third Hospital"), tmp_path / "fleet")
    old = (tmp_path / "fleet" / "certificate.pem").read_text()
    with site.client() as client:
        answer = client.post("/renew", json={"csr": request(site.key)})
        wrong = client.post("/renew", json={"csr": "no request"})
    assert answer.status_code == 200
    assert (wrong.status_code, wrong.json()["code"]) == (400, "csr-wrong")
    assert site.report(report()).status_code == 200  # the answer may have been lost
    site.wear(answer.json()["certificate"])
    assert site.report(report()).status_code == 200
    site.wear(old)
    assert site.report(report()).json()["code"] == "site-unknown"


def test_who_is_shut_out_is_refused_at_once_and_comes_back_by_another_token(hub: Running, tmp_path: Path) -> None:
    site = join(hub.invite("Fourth Hospital"), tmp_path / "fleet")
    with site.client() as client:  # on a connection that is open already
        told = report().model_dump_json()
        assert client.post("/report", content=told).status_code == 200
        shut_out(hub.settings, "Fourth Hospital", actor="test")
        for answer in (client.post("/report", content=told), client.get(f"/bundles/{'0' * 64}")):
            assert (answer.status_code, answer.json()["code"]) == (403, "site-unknown")
    back = join(hub.invite("", again="Fourth Hospital"), tmp_path / "again")
    assert back.id == site.id
    assert back.report(report()).status_code == 200


def test_what_is_wrong_with_a_report_is_said_without_its_content(hub: Running, site: Site) -> None:
    good = json.loads(report().model_dump_json())
    with site.client() as client:
        newer = client.post("/report", json={**good, "version": 2, "more": 1})
        assert (newer.status_code, newer.json()["code"]) == (400, "report-version")
        assert "version 2" in newer.json()["message"]
        wrong = client.post("/report", json={**good, "patient": "Doe^Jane"})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "report-wrong")
        assert "Doe" not in wrong.text
        short = model_window().model_copy(update={"score": model_window().reading_s})
        odd = client.post("/report", content=report(window(midnight(days_ago=2), short)).model_dump_json())
        assert "score has 7 bins, not 10" in odd.json()["message"]
        large = client.post("/report", content=b" " * (2 * 2**20 + 1))
        assert large.status_code == 413
    context = ssl.create_default_context(cafile=hub.settings.node.folder / "hub" / "authority.pem")
    headers = {"authorization": f"Bearer {MONITOR}"}
    told = httpx.get(f"{hub.pages}/metrics", headers=headers, verify=context).text
    for outcome, number in {"report-version": 1, "report-wrong": 2, "body-too-large": 1}.items():
        assert f'pneumoscope_hub_reports_total{{outcome="{outcome}"}} {number}.0' in told
    assert re.search(r'pneumoscope_hub_reports_total\{outcome="taken"\} [1-9]', told)


def test_people_log_in_before_they_see_anything(hub: Running) -> None:
    context = ssl.create_default_context(cafile=hub.settings.node.folder / "hub" / "authority.pem")
    with httpx.Client(base_url=hub.pages, verify=context) as client:
        assert client.get("/").status_code == 401
        page = client.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2F")
        assert client.get("/login").status_code == 200
        assert client.get("/health").text == "up\n"
        assert client.get("/report").status_code == 401


def test_the_command_line_invites_and_says_what_it_cannot(hub: Running) -> None:
    command = [sys.executable, "-m", "pneumoscope.cli", "hub", "invite", "--config", str(hub.config)]
    taken = subprocess.run(
        [*command, "--site", "First Hospital", "--province", "Hubei"], capture_output=True, text=True, check=False
    )
    assert taken.returncode == 3
    assert "site-taken" in taken.stderr


def test_a_signed_model_is_offered_wished_for_and_fetched_as_it_was(hub: Running, site: Site, tmp_path: Path) -> None:
    store = prepare(hub.settings)
    torn = tmp_path / "torn"
    shutil.copytree(DEFAULT_BUNDLE, torn)
    (torn / "LICENSE.txt").write_text("more")
    with pytest.raises(OperatorNeeded):
        steering.offer(store, torn, actor="test")
    one = steering.offer(store, DEFAULT_BUNDLE, actor="test")
    assert steering.offer(store, DEFAULT_BUNDLE, actor="test") == one
    with store.database.begin() as db:
        rollout_id = steering.roll_out(db, one.model, canaries=["First Hospital"], shares=(), actor="test")
    store.database.close()
    orders = Orders.model_validate_json(site.report(report()).content)
    assert orders.wish == Wish(rollout=rollout_id, kind=WishKind.SHADOW, offer=one)
    with site.client() as client:
        content = client.get(f"/bundles/{one.sha256}").content
        assert client.get(f"/bundles/{'0' * 64}").json()["code"] == "no-such-bundle"
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (one.sha256, one.size_bytes)
    (tmp_path / "model.zip").write_bytes(content)
    (tmp_path / "model").mkdir()
    unpack(tmp_path / "model.zip", to=tmp_path / "model", keep_names=True)
    assert examine(tmp_path / "model", trust=trust()).fault is None


def test_wrong_tokens_are_counted(hub: Running) -> None:
    """The last test of this hub: the address has to wait afterwards."""
    wrong = {"secret": "guess", "csr": request(ec.generate_private_key(ec.SECP256R1()))}
    context = ssl.create_default_context(cafile=hub.settings.node.folder / "hub" / "authority.pem")
    with httpx.Client(base_url=hub.pages, verify=context) as client:
        codes = [client.post("/fleet/join", json=wrong).json()["code"] for _ in range(21)]
    assert codes[0] == "token-unknown"
    assert codes[-1] == "too-many-tries"
