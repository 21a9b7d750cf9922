"""The hub of the fleet on this machine."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from telling import FOLDER, console, until

from pneumoscope.config import Settings, load_settings
from pneumoscope.fleet.messages import Mode
from pneumoscope.hub.prepare import prepare
from pneumoscope.store import Database
from pneumoscope.store.hub_schema import rollout
from pneumoscope.store.hub_schema import site as hub_site

EVERY_S = 4.0
COMMAND = [sys.executable, "-m", "pneumoscope.cli"]


class Hub:
    """The hub's process, and what its operator types."""

    def __init__(self, port: int, sites_port: int, public_key: Path, *, window_s: float) -> None:
        self.folder = FOLDER / "hub"
        trusted = self.folder / "home" / "trusted_keys"
        trusted.mkdir(parents=True)
        shutil.copy(public_key, trusted)
        self.config = self.folder / "hub.toml"
        self.config.write_text(
            f'[node]\nfolder = "{self.folder / "kept"}"\n[logs]\nlevel = "warning"\n'
            f'[hub]\nname = "localhost"\nhost = "127.0.0.1"\nport = {port}\nsites_port = {sites_port}\n'
            f"[hub.policy]\nwindow_s = {window_s}\nevery_s = {EVERY_S}\nacceptance_cases = 4\nacceptance_auc = 0.7\n"
            "wait_s = 600\n"
            "[hub.gate]\nhours = 0\npairs = 5\nreadings = 5\nsites_share = 0.6\n"
        )
        self.settings: Settings = load_settings(self.config)
        self.environment = {**os.environ, "PNEUMOSCOPE_CONFIG": str(self.config), "PNEUMOSCOPE_HOME": str(self.folder / "home")}
        prepare(self.settings).database.close()
        self.database = Database(self.settings.database_url)
        with (self.folder / "hub.log").open("wb") as log:
            self.process = subprocess.Popen([*COMMAND, "hub"], env=self.environment, stdout=log, stderr=log)
        until(lambda: listening(sites_port), "the hub", patience_s=60)

    def types(self, *words: str) -> str:
        """A command of `pneumoscope hub`, as its operator types it."""
        shown = " ".join(
            f"'{word}'" if " " in word else os.path.relpath(word) if word.startswith("/") else word for word in words
        )
        console.print(f"        [bold]$ pneumoscope hub {shown}[/bold]")
        done = subprocess.run([*COMMAND, "hub", *words], env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout.strip()

    def rows(self, query: sa.Select) -> list[sa.RowMapping]:
        """What it keeps."""
        with self.database.look() as db:
            return list(db.execute(query).mappings())

    def sites(self) -> dict[str, sa.RowMapping]:
        """By title."""
        return {row["title"]: row for row in self.rows(sa.select(hub_site))}

    def running(self, model: str) -> list[str]:
        """Titles of sites where a model serves live."""
        return [title for title, row in self.sites().items() if row["model"] == model and row["mode"] == Mode.LIVE]

    def rollout(self, model: str) -> sa.RowMapping:
        """Of a model, the newest."""
        query = sa.select(rollout).where(rollout.c.model == model).order_by(rollout.c.started_at.desc())
        return self.rows(query)[0]


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
