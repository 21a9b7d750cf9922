"""What `make demo` does: starts a node on its embedded default, sends it a study as a scanner would, says how to look."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from pydicom import dcmread
from pynetdicom.sop_class import CTImageStorage
from rich.progress import track

from pneumoscope.config import load_settings
from pneumoscope.delivery.mended import Entity
from pneumoscope.node.prepare import FIRST, first_account
from pneumoscope.node.serve import address, wait_until_ready

FOLDER = Path("build/demo")
STATE = FOLDER / "node.json"
PATIENCE_S = 300


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:] == ["stop"]:
        return stop()
    node = running() or start()
    os.environ.update(node["environment"])
    settings = load_settings()
    wait_until_ready(settings)
    send(FOLDER / "study", settings.dicom.ae_title, settings.dicom.port)
    page = watch(address(settings), settings.http.tokens[0])
    print(f"\nLook at {page}\nAll studies: {address(settings)}   To stop the node: make stop")
    password = first_account(settings)
    if password:
        print(f"Log in as {FIRST} with the first password {password} (shown only now, to be changed then).")
    else:
        folder = os.path.relpath(settings.node.folder)
        print(f"Log in as before. A new password: PNEUMOSCOPE_NODE__FOLDER={folder} .venv/bin/pneumoscope people reset {FIRST}")
    return 0


def running() -> dict | None:
    """The node of an earlier demo, if it lives."""
    try:
        node = json.loads(STATE.read_text())
        os.kill(node["pid"], 0)
    except (OSError, ValueError):
        return None
    return node


def start() -> dict:
    environment = {
        "PNEUMOSCOPE_NODE__FOLDER": str((FOLDER / "node").absolute()),
        "PNEUMOSCOPE_DICOM__PORT": str(port_near(11112)),
        "PNEUMOSCOPE_HTTP__PORT": str(port_near(8042)),
        "PNEUMOSCOPE_HTTP__TOKENS": json.dumps([secrets.token_urlsafe(32)]),  # by which this script asks
    }
    with (FOLDER / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pneumoscope.cli", "serve"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    node = {"pid": process.pid, "environment": environment}
    STATE.touch(mode=0o600)
    STATE.write_text(json.dumps(node))
    print(f"Starting the node (its log: {FOLDER / 'node.log'}) ...", flush=True)
    return node


def stop() -> int:
    node = running()
    if node:
        os.kill(node["pid"], signal.SIGTERM)
        print("The node stops.")
    STATE.unlink(missing_ok=True)
    return 0


def port_near(port: int) -> int:
    """``port``, or the next that is free."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
        port += 1


def send(folder: Path, ae_title: str, port: int) -> None:
    files = sorted(folder.iterdir())
    scanner = Entity(ae_title="SCANNER")
    scanner.add_requested_context(CTImageStorage, dcmread(files[0], stop_before_pixels=True).file_meta.TransferSyntaxUID)
    association = scanner.associate("127.0.0.1", port, ae_title=ae_title)
    if not association.is_established:
        raise SystemExit("The node does not take the study; its log tells why.")
    for file in track(files, description=f"Sending {len(files)} images by C-STORE"):
        status = association.send_c_store(str(file))
        if status.Status != 0:
            raise SystemExit(f"The node refuses an image with status 0x{status.Status:04X}.")
    association.release()


def watch(root: str, token: str) -> str:
    """Wait until the study is read, and return its page."""
    headers = {"Authorization": f"Bearer {token}"}
    give_up_at, shown = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < give_up_at:
        studies = httpx.get(f"{root}api/studies", headers=headers).json()["studies"]
        state = studies[0]["state"] if studies else "arriving"
        if state != shown:
            print(f"The study is {state}.", flush=True)
            shown = state
        if state in ("read", "held", "refused", "failed"):
            print(studies[0]["headline"] or studies[0]["message"])
            return f"{root}studies/{studies[0]['StudyInstanceUID']}"
        time.sleep(0.2)
    raise SystemExit("The study was not read in time; the node's log tells why.")


if __name__ == "__main__":
    sys.exit(main())
