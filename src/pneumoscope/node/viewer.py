"""Puts the viewer beside the node: a pinned archive from npm's registry, checked before it is opened."""

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from pneumoscope.errors import OperatorNeeded
from pneumoscope.server.viewer import COMPRESSED, FOLDER

LOCK = Path(__file__).with_name("viewer.json")
#: Machine learning in the browser, microscopy, and maps for debuggers: three quarters of the whole, and nothing for chest CT.
#: The service worker would fetch from elsewhere, and ours is the configuration that is served.
LEFT_OUT = ("ort/", "dicom-microscopy-viewer/", "sw.js", "app-config.js")
_MARK = ".integrity"
#: What is sent compressed to browsers that take it: three quarters less to carry, and small enough for their caches.
_COMPRESSIBLE, _WORTH_BYTES = {".js", ".css", ".wasm", ".svg", ".json", ".html"}, 4096
_BLOCK_BYTES = 2**20
_SILENCE_S = 30


class Pinned(NamedTuple):
    """The one archive that is taken."""

    name: str
    version: str
    integrity: str
    tarball: str


def pinned() -> Pinned:
    """As this version of the node has it."""
    return Pinned(**json.loads(LOCK.read_text(encoding="utf-8")))


def is_installed(folder: Path = FOLDER) -> bool:
    """Whether the pinned version is in place, whole."""
    mark = folder / _MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == pinned().integrity


def install(archive: Path | None = None, *, folder: Path = FOLDER) -> bool:
    """Put the viewer in place, from ``archive`` or fetched; False where it is there already. Raises OperatorNeeded."""
    try:
        if is_installed(folder):
            _compress(folder)  # which versions before this one did not
            return False
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetched = archive or _fetch(folder.parent)
        try:
            _check(fetched)
            _put(fetched, folder)
        finally:
            if archive is None:
                fetched.unlink()
    except OSError as fault:
        raise OperatorNeeded(
            f"The viewer cannot be put in place: {fault.strerror or type(fault).__name__}.", code="viewer-unwritable"
        ) from fault
    return True


def _put(archive: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".ohif-", dir=folder.parent) as name:
        whole = Path(name) / "viewer"
        _unpack(archive, whole)
        _compress(whole)
        (whole / _MARK).write_text(pinned().integrity, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


def _compress(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        beside = path.with_name(path.name + COMPRESSED)
        if path.suffix in _COMPRESSIBLE and path.stat().st_size >= _WORTH_BYTES and not beside.exists():
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(gzip.compress(path.read_bytes(), 6, mtime=0))
            partial.rename(beside)


def _fetch(folder: Path) -> Path:
    """By npm where it is there, since it knows the ways of this network; else by ourselves, going on where it broke off."""
    wanted = pinned()
    npm = shutil.which("npm")
    if npm:
        command = [npm, "pack", f"{wanted.name}@{wanted.version}", "--pack-destination", str(folder), "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603 - our own words
        packed = folder / done.stdout.strip()
        if done.returncode == 0 and packed.is_file():
            return packed
    partial = folder / f"ohif-{wanted.version}.part"
    for _ in range(3):  # a break half-way costs only what was under way
        try:
            return _download(wanted.tarball, partial)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as fault:
            reason = getattr(fault, "reason", None) or type(fault).__name__
    raise OperatorNeeded(
        f"The viewer cannot be fetched from the npm registry ({reason}). The node works without it. To add it, run "
        f"`npm pack {wanted.name}@{wanted.version}` where the registry can be reached, and `pneumoscope viewer FILE` here.",
        code="viewer-unreachable",
    )


def _download(url: str, partial: Path) -> Path:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - https, from the lock
    try:
        with urllib.request.urlopen(request, timeout=_SILENCE_S) as answer, partial.open("ab") as file:  # noqa: S310
            if have and answer.status != 206:
                file.truncate(0)
            shutil.copyfileobj(answer, file, _BLOCK_BYTES)
            if answer.length:  # what is still to come; http.client does not tell
                raise ConnectionError("broken off")
    except urllib.error.HTTPError as fault:
        if fault.code != 416:  # nothing is left to fetch
            raise
    return partial


def _check(archive: Path) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != pinned().integrity:
        raise OperatorNeeded(
            f"The archive is not {pinned().name} {pinned().version}: its SHA-512 is another than the pinned one.",
            code="viewer-wrong",
        )


def _unpack(archive: Path, to: Path) -> None:
    with tarfile.open(archive, "r:gz") as opened:
        for member in opened:
            inside = "LICENSE" if member.name == "package/LICENSE" else member.name.removeprefix("package/dist/")
            if not member.isfile() or inside == member.name or inside.startswith(LEFT_OUT) or inside.endswith(".map"):
                continue
            opened.extract(member.replace(name=inside, mode=0o644), to, set_attrs=False, filter="data")
