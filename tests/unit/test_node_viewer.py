"""How the viewer is put in place: the pinned archive alone, whole or not at all, taken up where it broke off."""

import base64
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pneumoscope.errors import OperatorNeeded
from pneumoscope.node import viewer

FILES = {
    "package/LICENSE": b"MIT",
    "package/package.json": b"{}",
    "package/dist/index.html": b"<html>",
    "package/dist/assets/a.png": b"png",
    "package/dist/app.js": b"many words;" * 1000,
    "package/dist/sw.js": b"importScripts('https://elsewhere.example')",
    "package/dist/app.js.map": b"map",
    "package/dist/ort/big.wasm": b"wasm",
}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "viewer.tgz"
    with tarfile.open(path, "w:gz") as opened:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    pinned = viewer.Pinned(name="@ohif/app", version="1.2.3", integrity=f"sha512-{digest}", tarball="")
    monkeypatch.setattr(viewer, "pinned", lambda: pinned)
    return path


@pytest.fixture
def registry(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves the archive; the ranges that it was asked for. Its first answer breaks off half-way."""
    content, ranges = archive.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranges.append(self.headers.get("Range", ""))
            start = int(ranges[-1].removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:] if len(ranges) > 1 else content[: len(content) // 2])

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    at = viewer.pinned()._replace(tarball=f"http://127.0.0.1:{server.server_port}/x.tgz")
    monkeypatch.setattr(viewer, "pinned", lambda: at)
    monkeypatch.setattr(viewer.shutil, "which", lambda _: None)  # a machine without npm
    yield ranges
    server.shutdown()
    thread.join()
    server.server_close()


def placed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_pinned_archive_is_put_in_place_once(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "ohif"
    assert viewer.install(archive, folder=folder)
    whole = {"LICENSE", "index.html", "assets/a.png", "app.js", "app.js.gz", ".integrity"}
    assert placed(folder) == whole
    assert gzip.decompress((folder / "app.js.gz").read_bytes()) == FILES["package/dist/app.js"]
    (folder / "app.js.gz").unlink()  # as older versions left it
    assert not viewer.install(archive, folder=folder)
    assert placed(folder) == whole
    assert archive.exists()


def test_another_archive_changes_nothing(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "ohif"
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(OperatorNeeded) as caught:
        viewer.install(archive, folder=folder)
    assert caught.value.code == "viewer-wrong"
    assert list(folder.parent.iterdir()) == []


def test_a_fetch_goes_on_where_it_broke_off(archive: Path, registry: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "share" / "ohif"
    assert viewer.install(folder=folder)
    assert registry == ["", f"bytes={archive.stat().st_size // 2}-"]
    assert [path.name for path in folder.parent.iterdir()] == ["ohif"]


def test_without_a_way_to_the_registry_it_says_what_to_do(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer.shutil, "which", lambda _: None)
    nowhere = viewer.pinned()._replace(tarball="http://127.0.0.1:9/x.tgz")
    monkeypatch.setattr(viewer, "pinned", lambda: nowhere)
    with pytest.raises(OperatorNeeded) as caught:
        viewer.install(folder=tmp_path / "share" / "ohif")
    assert caught.value.code == "viewer-unreachable"
    assert "npm pack @ohif/app@1.2.3" in str(caught.value)
