"""The viewer's files, compressed for browsers that take them so, and kept for good where their names tell what is in them."""

import gzip
import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pneumoscope.server import viewer

SCRIPT = b"console.log('many words');" * 400
NAME = "app.bundle.0123456789abcdef.js"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(viewer, "FOLDER", tmp_path)
    (tmp_path / "index.html").write_bytes(b"<script>1</script>")
    (tmp_path / NAME).write_bytes(SCRIPT)
    (tmp_path / "plain.js").write_bytes(SCRIPT)
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(SCRIPT))
    app = FastAPI()
    app.include_router(viewer.router)
    return TestClient(app)


@pytest.mark.parametrize(
    ("accepted", "name", "compressed"),
    [
        ("gzip, deflate, br, zstd", NAME, True),
        ("br;q=1.0, gzip;q=0.5", NAME, True),
        ("*", NAME, True),
        ("gzip;q=0", NAME, False),
        ("br", NAME, False),
        ("gzip", "plain.js", False),
    ],
)
def test_a_file_comes_compressed_where_it_may(client: TestClient, accepted: str, name: str, compressed: bool) -> None:
    answer = client.get(f"/{name}", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("content-encoding") == "gzip") == compressed
    assert answer.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    assert answer.headers["vary"] == "Accept-Encoding"
    assert ("immutable" in answer.headers["cache-control"]) == (name == NAME)
    assert answer.content == SCRIPT  # the client has unpacked it


def test_an_installation_may_lie_behind_a_link(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "out.js").symlink_to(__file__)
    monkeypatch.setattr(viewer, "FOLDER", tmp_path / "link")
    assert client.get("/plain.js").content == SCRIPT
    assert client.get("/out.js").status_code == 404


@pytest.mark.parametrize(
    ("asked", "tag", "said"),
    [("", "en", "The overlay is being loaded."), ("de-AT, en;q=0.5", "de", "Die Überlagerung wird geladen.")],
)
def test_its_words_are_in_the_readers_language(client: TestClient, asked: str, tag: str, said: str) -> None:
    answer = client.get("/app-config.js", headers={"Accept-Language": asked})
    assert answer.headers["vary"] == "Accept-Language, Cookie"
    first, _, rest = answer.text.partition("\n")
    words = json.loads(first.removeprefix("const pneumoscopeWords = ").removesuffix(";"))
    assert (words["language"], words["loading"]) == (tag, said)
    assert set(words) == set(re.findall(r"pneumoscopeWords\.(\w+)", rest))
