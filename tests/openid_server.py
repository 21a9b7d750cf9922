"""A real provider of OpenID Connect."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import listening, wait_for


class OpenIdProvider:
    """The certified oidc-provider, for one client that comes back to ``root``."""

    SECRET = "a secret that both know"

    def __init__(self, folder: Path, *, port: int, root: str) -> None:
        self.port, self._folder, self._root = port, folder, root
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        script = [_openid_modules() / "provider.js", self.port, f"{self._root}/login/openid/back", f"{self._root}/login"]
        with (self._folder / "provider.log").open("wb") as log:
            self.process = subprocess.Popen(["node", *map(str, script)], stdout=log, stderr=log)
        wait_for(lambda: listening(self.port), seconds=120, what="the provider")

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)


def _openid_modules() -> Path:
    """Where npm has put the provider; once for each machine, beside what pip keeps."""
    source = Path(__file__).parent / "openid"
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pneumoscope-tests" / "openid"
    wanted = (source / "package.json").read_text()
    if not (folder / "installed").exists() or (folder / "installed").read_text() != wanted:
        if not shutil.which("npm"):
            pytest.skip("npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            shutil.copy(file, folder)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"npm cannot install the provider: {done.stderr[-200:]}")
        (folder / "installed").write_text(wanted)
    shutil.copy(source / "provider.js", folder)
    return folder


@contextmanager
def openid_provider(folder: Path, *, port: int, root: str) -> Iterator[OpenIdProvider]:
    server = OpenIdProvider(folder, port=port, root=root)
    server.start()
    try:
        yield server
    finally:
        server.stop()
