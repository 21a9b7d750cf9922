"""Who gets in, over the wire: every route, with and without tokens; bodies that lie; a database that goes away."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server_node import Node, make_store, start, stop
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pneumoscope.config import Settings
from pneumoscope.store import audit, processes
from servers import wait_for

TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("guarded")
    store = make_store(folder)
    (folder / "metrics").mkdir()
    environment = {
        "PNEUMOSCOPE_HTTP__TOKENS": f'["other", "{TOKEN}"]',
        "PNEUMOSCOPE_HTTP__PROGRAMS": '[{"name": "prometheus", "token": "only watches, no more", "roles": ["monitor"]}]',
        "PNEUMOSCOPE_HTTP__TRUST_THIS_MACHINE": "false",
        "PNEUMOSCOPE_HTTP__MAX_UPLOAD_MB": "1",
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
    }
    process, url, log = start(folder, environment=environment)
    yield Node(Settings(node={"folder": folder}), store, process, url, log, {})
    assert stop(process) == 0
    with store.database.look() as db:
        assert processes.alive(db) == []
    store.database.close()
    assert TOKEN not in log.read_text()


def test_who_is_nobody_gets_nowhere(guarded: Node) -> None:
    answer = httpx.get(f"{guarded.url}/no/such/page")
    assert (answer.status_code, answer.json()["code"]) == (401, "login-needed")
    answer = httpx.get(f"{guarded.url}/studies/1.2?a=%26", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fstudies%2F1.2%3Fa%3D%2526")
    assert httpx.get(f"{guarded.url}/health").status_code == 200


def test_the_event_channel_needs_a_token(guarded: Node) -> None:
    url = f"{guarded.root}/subscribers/ME".replace("http", "ws", 1)
    with pytest.raises(InvalidStatus), connect(url):
        pass
    with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as channel, pytest.raises(TimeoutError):
        channel.recv(timeout=0)


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer", "Basic", "Basic !!!", f"Digest {TOKEN}", TOKEN, "Bearer correct", "Bearer ö".encode("latin-1")],
)
def test_a_wrong_token_does_not_get_in(guarded: Node, header: str | bytes) -> None:
    answer = httpx.get(f"{guarded.url}/ready", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "Basic" in answer.headers["www-authenticate"]


def test_a_browser_gets_in_by_password_and_is_named(guarded: Node) -> None:
    assert httpx.get(f"{guarded.url}/", auth=("dr.who", TOKEN)).status_code == 200
    entries = guarded.audit()
    assert "dr.who (token 2)" in [entry["actor"] for entry in entries]
    refused = [entry for entry in entries if entry["outcome"] == "refused"]
    assert refused
    assert len(refused) < 10  # not one for each of the many refusals above


def test_every_answer_has_security_headers(guarded: Node) -> None:
    for path, headers in (("/", {"Authorization": f"Bearer {TOKEN}"}), ("/", {}), ("/health", {}), ("/nothing", {})):
        found = httpx.get(guarded.url + path, headers=headers).headers
        assert "default-src 'none'" in found["content-security-policy"]
        assert found["x-content-type-options"] == "nosniff"
        assert found["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in found
        assert "server" not in found


def test_this_machine_gets_in_by_its_own_name_where_it_is_trusted(node: Node) -> None:
    def status(**headers: str) -> int:
        return httpx.get(f"{node.url}/ready", headers=headers).status_code

    port = node.url.rpartition(":")[2]
    assert status() == 503
    assert status(Host=f"localhost:{port}") == 503
    assert status(Host="evil.example") == 421
    assert status(Host=f"127.0.0.1.evil.example:{port}") == 421
    assert status(Host="[::1") == 421
    assert status(**{"X-Forwarded-For": "10.0.0.1"}) == 401
    assert status(Forwarded="for=10.0.0.1") == 401


def test_a_program_may_be_given_less(guarded: Node) -> None:
    with httpx.Client(base_url=guarded.url, headers={"Authorization": "Bearer only watches, no more"}) as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/ready").status_code == 503
        assert client.get("/api/studies").json()["code"] == "not-allowed"
        assert client.get("/dicom-web/studies").status_code == 404


def test_metrics_are_those_of_all_processes(guarded: Node) -> None:
    count = "from prometheus_client import Counter; Counter('other_total', 'Counted elsewhere.').inc(7)"
    folder = str(guarded.settings.node.folder / "metrics")
    subprocess.run([sys.executable, "-c", count], env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": folder}, check=True)
    text = httpx.get(f"{guarded.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "other_total 7.0" in text
    assert 'pneumoscope_http_requests_total{method="GET",route="/health",status="200"}' in text
    assert 'pneumoscope_processes_alive{kind="server"} 1.0' in text


def raw(url: str, request: bytes, *, then_close: bool = False) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        if then_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
            if b"}" in chunk:
                break
        return answer


def test_a_length_that_lies_cannot_hurt(guarded: Node) -> None:
    head = (f"POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/zip\r\n").encode()
    assert b" 413 " in raw(guarded.url, head + b"Content-Length: 99999999999\r\n\r\n")
    assert raw(guarded.url, head + b"Content-Length: 1000\r\n\r\nPK\x03\x04", then_close=True) == b""
    assert b" 400 " in raw(guarded.url, head + b"Content-Length: -5\r\n\r\n")
    assert b" 400 " in raw(guarded.url, head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nPK\x03\x04x")
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    answer = raw(
        guarded.url, head + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\nPK\x03\x04" + bytes(65532) + b"\r\n" + chunk * 20
    )
    assert b" 413 " in answer
    assert not list(guarded.settings.spool.glob("*"))
    assert httpx.get(f"{guarded.url}/health").status_code == 200


def test_many_at_once_are_served(guarded: Node) -> None:
    seen: list[int] = []

    def ask() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
            seen.extend(client.get(f"{guarded.url}/api/studies").status_code for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [200] * 60


def test_tls_is_spoken_where_a_certificate_is_set(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    make_store(tmp_path / "node").database.close()
    process, url, _ = start(
        tmp_path / "node",
        environment={"PNEUMOSCOPE_HTTP__CERTIFICATE": str(certificate), "PNEUMOSCOPE_HTTP__KEY": str(key)},
    )
    try:
        assert "strict-transport-security" in httpx.get(f"{url}/health", verify=False).headers
        old = ssl.create_default_context()
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health", verify=old)
    finally:
        assert stop(process) == 0


def test_a_server_that_was_taken_for_dead_ends(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    process, url, _ = start(tmp_path)
    try:
        with store.database.begin() as db:
            (own,) = processes.alive(db)
            assert own.kind == "server"
            for kind in ("receiver", "worker"):
                processes.beat(db, processes.enter(db, kind))
        wait_for(lambda: httpx.get(f"{url}/ready").status_code == 200, what="readiness")
        wait_for(lambda: httpx.get(f"{url}/ready").status_code == 503, what="the silence of the others to be noticed")
        with store.database.begin() as db:
            processes.bury(db, own.id)
        assert process.wait(timeout=60) == 0
        with store.database.look() as db:
            assert isinstance(audit.entries(db), list)
    finally:
        if process.poll() is None:
            process.kill()
        store.database.close()
