"""A site without a node: its store, its membership, and the parts of the member, or the member as a process."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hub_fleet import Running, running_hub

from pneumoscope.config import load_settings
from pneumoscope.fleet.messages import Mode, Role
from pneumoscope.hub.authority import Authority
from pneumoscope.hub.prepare import open_authority
from pneumoscope.member import membership
from pneumoscope.member.guarding import Guarding
from pneumoscope.member.health import Looking
from pneumoscope.member.joining import Joined, join
from pneumoscope.member.membership import Facts
from pneumoscope.member.model import default_model
from pneumoscope.member.reporting import Reporting
from pneumoscope.member.stopping import Stopping
from pneumoscope.member.wishes import Wishes
from pneumoscope.node.prepare import prepare
from pneumoscope.opening import open_store
from pneumoscope.store import Database, sites
from pneumoscope.store.fleet_schema import fleet_window, observation
from servers import wait_for

HOUR = timedelta(hours=1)


@contextmanager
def fast_hub(folder: Path, *, days: float = 90) -> Iterator[Running]:
    """Windows of an hour, a report every 0.2 s."""
    folder.mkdir(exist_ok=True)
    more = f"certificate_days = {days}\n[hub.policy]\nwindow_s = 3600\nevery_s = 0.2\n"
    with running_hub(folder, more=more) as running:
        yield running


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def give(hub: Running, site: "Site", *, days: float) -> None:
    """Have a site wear a certificate of the hub that holds for so long."""
    place = membership.folder(site.settings)
    csr = membership.request(membership.load_key(place))
    pem, serial, until = open_authority(hub.settings).sign_site(csr, site.facts.site, days=days)
    membership.keep_certificate(place, pem)
    database = Database(hub.settings.database_url)
    with database.begin() as db:
        sites.joined(db, site.facts.site, serial=serial, until=until)
    database.close()


@dataclass
class Heard:
    """What came to a server of ours; ``answer`` is what it says to everything."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    answer: bytes = b"{}"
    status: int = 200


@contextmanager
def ear(authority: Authority) -> Iterator[Heard]:
    """A TLS server at "localhost" with a certificate of this authority, which keeps what its sites say."""
    authority.serve_as("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate_path)
    context.load_cert_chain(*authority.server_paths)
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            head = f"{self.requestline}\n{self.headers}".encode()
            heard.bodies.append(head + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(heard.status)
            self.send_header("Content-Length", str(len(heard.answer)))
            self.end_headers()
            self.wfile.write(heard.answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up in the handshake."""

        def get_request(self) -> Any:
            plain, address = super().get_request()
            plain.settimeout(10)
            return context.wrap_socket(plain, server_side=True), address

    server = Server(("127.0.0.1", 0), Handler)
    heard = Heard(url=f"https://localhost:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Site:
    def __init__(self, folder: Path, token: str = "", *, more: str = "", keep_live: bool = False) -> None:
        folder.mkdir(parents=True)
        self.folder, self.config = folder, folder / "site.toml"
        self.config.write_text(f'[node]\nfolder = "{folder / "node"}"\n{more}')
        self.settings = load_settings(self.config)
        prepare(self.settings)
        self.store, self.model = open_store(self.settings), default_model(self.settings)
        self.joined = self.join(token, keep_live=keep_live) if token else None
        self.start()

    def join(self, token: str, *, keep_live: bool = False) -> Joined:
        return join(self.settings, token, keep_live=keep_live)

    def start(self) -> None:
        """The member's parts, as after a restart."""
        self.wishes, self.guarding = Wishes(self.settings, self.store), Guarding(self.settings, self.store)
        self.stopping = Stopping(self.settings, self.store)
        self.reporting = Reporting(self.settings, self.store, Looking(self.settings, self.store), self.wishes.state)

    def close(self) -> None:
        self.store.database.close()

    @property
    def facts(self) -> Facts:
        place = membership.load(self.settings)
        assert place is not None
        return place.facts

    def alter(self, **facts: Any) -> None:
        """Have it joined at another time, or another hub."""
        path = membership.folder(self.settings) / "membership.json"
        membership.write(path, self.facts.model_copy(update=facts).model_dump_json().encode())

    def observe(self, at: datetime, number: int = 1, **more: Any) -> None:
        """Readings of as many studies, a second apart."""
        with self.store.database.begin() as db:
            for n in range(number):
                name = f"{at:%m%d%H%M%S}-{n}"
                row = {
                    "id": f"o-{name}",
                    "reading_id": f"r-{name}",
                    "StudyInstanceUID": f"1.2.826.0.1.{at:%m%d%H%M%S}.{n}",
                    "model": self.model,
                    "device_uid": "2.25.7",
                    "role": Role.PRESENT.value,
                    "mode": Mode.LIVE.value,
                    "outcome": "read",
                    "probability": 0.8,
                    "category": "sign",
                    "involved_share": 0.1,
                    "reading_s": 8.0,
                    "wait_s": 20.0,
                    "features": {"sex": "f", "age_years": 55.0},
                    "at": at + timedelta(seconds=n),
                }
                db.execute(observation.insert().values(**(row | more)))

    def windows(self) -> list[sa.RowMapping]:
        with self.store.database.look() as db:
            return list(db.execute(sa.select(fleet_window).order_by(fleet_window.c.start)).mappings())

    @contextmanager
    def member(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process."""
        with (self.folder / "member.log").open("ab") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "pneumoscope.member"],
                env={**os.environ, "PNEUMOSCOPE_CONFIG": str(self.config)},
                stdout=told,
                stderr=told,
            )
            try:
                wait_for(lambda: "The member starts" in self.log(), seconds=90, what="the member")
                yield process
            finally:
                process.terminate()
                assert process.wait(timeout=60) == 0

    def log(self) -> str:
        return (self.folder / "member.log").read_text()
