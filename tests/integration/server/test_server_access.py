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
from fastapi.routing import APIRoute
from server_node import Node, make_store, start, stop

from pneumoscope.config import Settings
from pneumoscope.server import make_app
from pneumoscope.store import audit, processes
from servers import wait_for

TOKEN = "correct horse battery"


def routes(folder: Path) -> list[tuple[str, str]]:
    store = make_store(folder)
    app = make_app(Settings(node={"folder": folder}), store)
    found = [(method, route.path) for route in walk(app.routes) for method in route.methods]
    store.database.close()
    return found


def walk(found: list) -> Iterator[APIRoute]:
    """FastAPI keeps included routers as such."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "effective_route_contexts"):
            yield from (context for context in route.effective_route_contexts())
        else:
            pytest.fail(f"a route that this test does not know: {route!r}")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("guarded")
    store = make_store(folder)
    (folder / "metrics").mkdir()
    environment = {
        "PNEUMOSCOPE_HTTP__TOKENS": f'["other", "{TOKEN}"]',
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


def test_every_route_refuses_without_a_token(guarded: Node, tmp_path: Path) -> None:
    found = routes(tmp_path)
    assert len(found) > 30
    filled = {"study": "1.2", "series": "1.3", "instance": "1.4", "numbers": "1", "number": "1", "address:path": "00091010"}
    filled |= {"reading_id": "r", "name": "n", "delivery_id": "d", "place:path": "viewer", "name:path": "x.js"}
    for method, pattern in found:
        path = pattern
        for name, value in filled.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, path
        answer = httpx.request(method, guarded.url + path)
        assert answer.status_code == (200 if pattern == "/health" else 401), pattern
        if pattern != "/health":
            let_in = httpx.request(method, guarded.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
            assert let_in.status_code not in (401, 403), pattern
    assert httpx.get(f"{guarded.url}/no/such/page").status_code == 401


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


def test_only_this_machine_by_its_own_name_gets_in_without_tokens(node: Node) -> None:
    def status(**headers: str) -> int:
        return httpx.get(f"{node.url}/ready", headers=headers).status_code

    port = node.url.rpartition(":")[2]
    assert status() == 503
    assert status(Host=f"localhost:{port}") == 503
    assert status(Host="evil.example") == 421
    assert status(Host=f"127.0.0.1.evil.example:{port}") == 421
    assert status(Host="[::1") == 421
    assert status(**{"X-Forwarded-For": "10.0.0.1"}) == 403
    assert status(Forwarded="for=10.0.0.1") == 403


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
        assert process.wait(timeout=20) == 0
        with store.database.look() as db:
            assert isinstance(audit.entries(db), list)
    finally:
        if process.poll() is None:
            process.kill()
        store.database.close()
