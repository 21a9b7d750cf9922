"""Where browsers cannot reach one another, voice and video go through a TURN server: coturn, by what the node says of it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from test_together import PATIENCE_MS, PLAYING, begin, running_house, seats

import looks
from pneumoscope.server.together.helpers import credentials
from pneumoscope.store import now
from pneumoscope.store.people_schema import meeting
from servers import free_port, wait_for

pytestmark = pytest.mark.soak

USER, PASSWORD, SECRET, REALM = "pneumoscope", "a word for the relay", "a secret of the relay", "hospital.example"
#: What coturn is told of who may come, and what the node is.
WAYS = {
    "user": (["--lt-cred-mech", f"--user={USER}:{PASSWORD}"], {"user": USER, "password": PASSWORD}),
    "secret": (["--use-auth-secret", f"--static-auth-secret={SECRET}"], {"secret": SECRET}),
}
#: No way but through a relay, as behind two firewalls; keeps the connections to be asked what they did.
RELAYED = """window.connections = []; window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(given) { super({ ...given, iceTransportPolicy: "relay" }); window.connections.push(this); }
}"""
#: What came, by kind, in bytes, and by which kinds of candidates; of the connection that lives.
ARRIVED = """async () => {
  const stats = [...(await window.connections.at(-1).getStats()).values()];
  const by = (id) => stats.find((one) => one.id === id);
  const { selectedCandidatePairId } = stats.find((one) => one.type === "transport") ?? {};
  const pair = by(selectedCandidatePairId);
  const ends = [by(pair?.localCandidateId), by(pair?.remoteCandidateId)].map((end) => end?.candidateType);
  const came = stats.filter((one) => one.type === "inbound-rtp");
  const bytes = (kind) => came.reduce((sum, one) => sum + (one.kind === kind ? one.bytesReceived : 0), 0);
  return { ends, audio: bytes("audio"), video: bytes("video") };
}"""
OFFERED = "() => window.connections.at(-1).getConfiguration().iceServers"


@dataclass(frozen=True)
class Turn:
    """A TURN server; ``log``: what it says."""

    way: str
    port: int
    log: Path


@pytest.fixture(params=WAYS)
def turn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Turn]:
    program = shutil.which("turnserver")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have coturn")
        pytest.skip("coturn is not installed")
    port, log = free_port(), tmp_path / "turn.log"
    options = {
        "listening-ip": "127.0.0.1",
        "listening-port": str(port),
        "relay-ip": "127.0.0.1",
        "realm": REALM,
        "userdb": str(tmp_path / "turn.sqlite"),
        "pidfile": str(tmp_path / "turn.pid"),
        "cli-password": "none",
    }
    command = [program, "-n", "-v", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", *WAYS[request.param][0]]
    command += ["--log-file=stdout", *(f"--{name}={value}" for name, value in options.items())]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=tmp_path)
    try:
        wait_for(lambda: "listener opened" in log.read_text() or process.poll(), seconds=60, what="coturn")
        assert process.poll() is None, log.read_text()
        yield Turn(request.param, port, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_voice_and_video_go_through_the_relay_that_the_node_names(turn: Turn, tmp_path: Path) -> None:
    (house_folder := tmp_path / "house").mkdir()
    url = f"turn:127.0.0.1:{turn.port}?transport=udp"
    servers = json.dumps([{"urls": [url], **WAYS[turn.way][1]}])
    with (
        running_house(house_folder, TOGETHER__ICE_SERVERS=servers) as house,
        looks.chromium(looks.WITH_MEDIA) as browser,
        seats(browser, house, RELAYED) as sit,
    ):
        kim, lee = sit("kim"), sit("lee")
        lee.goto(begin(house, kim))
        user, password = USER, PASSWORD
        if turn.way == "secret":
            with house.store.database.look() as db:
                user, password = credentials(SECRET, until=db.execute(sa.select(meeting.c.expires_at)).scalar_one())
        for page in (kim, lee):
            expect(page.locator("#people li")).to_have_count(2)
        for page in (kim, lee):
            page.get_by_role("button", name="Microphone").click()
            page.get_by_role("button", name="Camera").click()
        for page in (kim, lee):
            page.wait_for_function(PLAYING, arg=2, timeout=PATIENCE_MS)
            wait_for(lambda page=page: hears_and_sees(page), seconds=PATIENCE_MS / 1000, what="voice and video", every_s=0.5)
            assert page.evaluate(ARRIVED)["ends"] == ["relay", "relay"]
            assert page.evaluate(OFFERED) == [{"urls": [url], "username": user, "credential": password}]
    assert len(relayed(turn, user)) == 2
    told = (house_folder / "log").read_text()
    for hidden in (password, SECRET):
        assert hidden not in told


@pytest.mark.parametrize("turn", ["secret"], indirect=True)
def test_who_comes_after_the_reading_is_over_is_refused(turn: Turn) -> None:
    def relays(until: datetime, secret: str = SECRET) -> bool:
        user, password = credentials(secret, until=until)
        # two relays that send to one another, or none where the credentials are not good
        command = ["turnutils_uclient", "-y", "-c", "-m", "2", "-n", "5", "-u", user, "-w", password, "-p", str(turn.port)]
        tried = subprocess.run([*command, "127.0.0.1"], capture_output=True, text=True, timeout=120, check=False)
        return re.search(r"tot_recv_msgs=[1-9]", tried.stdout) is not None

    assert relays(now() + timedelta(minutes=5))
    assert not relays(now() - timedelta(seconds=2))
    assert not relays(now() + timedelta(minutes=5), secret="another one")


def hears_and_sees(page: Page) -> bool:
    arrived = page.evaluate(ARRIVED)
    return arrived["audio"] > 1000 and arrived["video"] > 10_000


def relayed(turn: Turn, user: str) -> set[str]:
    """The sessions in which coturn let the user have a relay."""
    return set(re.findall(rf"session (\d+): new, realm=<{REALM}>, username=<{user}>", turn.log.read_text()))
