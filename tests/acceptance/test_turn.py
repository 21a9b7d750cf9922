"""Where browsers cannot reach one another, voice and video go through a TURN server: coturn, by what the node says of it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_together import PATIENCE_MS, PLAYING, begin, running_house, seats

import looks
from servers import free_port, wait_for

pytestmark = pytest.mark.soak

USER, PASSWORD, REALM = "pneumoscope", "a word for the relay", "hospital.example"
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
    """A TURN server that knows one user; ``log``: what it says."""

    port: int
    log: Path


@pytest.fixture
def turn(tmp_path: Path) -> Iterator[Turn]:
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
        "user": f"{USER}:{PASSWORD}",
        "realm": REALM,
        "userdb": str(tmp_path / "turn.sqlite"),
        "pidfile": str(tmp_path / "turn.pid"),
        "cli-password": "none",
    }
    command = [program, "-n", "-v", "--lt-cred-mech", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers"]
    command += ["--log-file=stdout", *(f"--{name}={value}" for name, value in options.items())]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=tmp_path)
    try:
        wait_for(lambda: "listener opened" in log.read_text() or process.poll(), seconds=60, what="coturn")
        assert process.poll() is None, log.read_text()
        yield Turn(port, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_voice_and_video_go_through_the_relay_that_the_node_names(turn: Turn, tmp_path: Path) -> None:
    (house_folder := tmp_path / "house").mkdir()
    url = f"turn:127.0.0.1:{turn.port}?transport=udp"
    servers = f'[{{"urls": ["{url}"], "user": "{USER}", "password": "{PASSWORD}"}}]'
    with (
        running_house(house_folder, TOGETHER__ICE_SERVERS=servers) as house,
        looks.chromium(looks.WITH_MEDIA) as browser,
        seats(browser, house, RELAYED) as sit,
    ):
        kim, lee = sit("kim"), sit("lee")
        lee.goto(begin(house, kim))
        for page in (kim, lee):
            expect(page.locator("#people li")).to_have_count(2)
        for page in (kim, lee):
            page.get_by_role("button", name="Microphone").click()
            page.get_by_role("button", name="Camera").click()
        for page in (kim, lee):
            page.wait_for_function(PLAYING, arg=2, timeout=PATIENCE_MS)
            wait_for(lambda page=page: hears_and_sees(page), seconds=PATIENCE_MS / 1000, what="voice and video", every_s=0.5)
            assert page.evaluate(ARRIVED)["ends"] == ["relay", "relay"]
            assert page.evaluate(OFFERED) == [{"urls": [url], "username": USER, "credential": PASSWORD}]
    assert len(relayed(turn)) == 2


def hears_and_sees(page: Page) -> bool:
    arrived = page.evaluate(ARRIVED)
    return arrived["audio"] > 1000 and arrived["video"] > 10_000


def relayed(turn: Turn) -> set[str]:
    """The sessions in which coturn let the node's user have a relay."""
    return set(re.findall(rf"session (\d+): new, realm=<{REALM}>, username=<{USER}>", turn.log.read_text()))
