"""Peers that deliveries are sent to: programs of others, and hostile ones of our own."""

import json
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread

from servers import free_port

DICOMWEB_PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so"))


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def listening(port: int) -> bool:
    """Whether something listens there, without connecting to it."""
    wanted = f"{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{wanted}") and line.split()[3] == "0A" for line in lines)


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    """dcmtk's storescp; gives its port, and what it received lies in ``folder``."""
    if shutil.which("storescp") is None:
        pytest.skip("dcmtk's storescp is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    process = subprocess.Popen(
        ["storescp", "-q", *options, "-od", str(folder), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: listening(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def uids_in(folder: Path) -> list[str]:
    return sorted(dcmread(file).SOPInstanceUID for file in folder.iterdir())


@dataclass
class Orthanc:
    dicom_port: int
    http_port: int
    modality_port: int  # where it sends answers to storage commitments for PNEUMOSCOPE

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def uids(self) -> list[str]:
        instances = httpx.get(f"{self.url}/instances", params={"expand": "1"}, trust_env=False).json()
        return sorted(instance["MainDicomTags"]["SOPInstanceUID"] for instance in instances)

    def forget(self) -> None:
        for study in httpx.get(f"{self.url}/studies", trust_env=False).json():
            httpx.delete(f"{self.url}/studies/{study}", trust_env=False)


@contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    plugin = next((path for path in DICOMWEB_PLUGINS if path.exists()), None)
    if shutil.which("Orthanc") is None or plugin is None:
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")
    peer = Orthanc(free_port(), free_port(), free_port())
    settings = {
        "Name": "PACS",
        "StorageDirectory": str(folder),
        "DicomAet": "PACS",
        "DicomCheckCalledAet": True,
        "DicomPort": peer.dicom_port,
        "HttpPort": peer.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(plugin)],
        "DicomModalities": {"pneumoscope": ["PNEUMOSCOPE", "127.0.0.1", peer.modality_port]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings))
    process = subprocess.Popen(["Orthanc", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        wait_for(lambda: listening(peer.http_port) and listening(peer.dicom_port), seconds=30)
        yield peer
    finally:
        process.terminate()
        process.wait()


@contextmanager
def tcp_peer(serve: Callable[[socket.socket], None], *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A listener that hands each connection to ``serve``, one after the other; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            with suppress(OSError):
                if tls:
                    sock = tls.wrap_socket(sock, server_side=True)
                serve(sock)
            sock.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def mute(sock: socket.socket) -> None:
    """Reads all and says nothing."""
    while sock.recv(65536):
        pass


def deaf(sock: socket.socket) -> None:
    """Reads nothing and says nothing, until the other side gives up."""
    sock.settimeout(None)
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    poll.poll(3_000)


def dripping(prefix: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Answers a little at a time, without end."""

    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(prefix)
        for _ in range(200):
            sock.sendall(drop)
            time.sleep(0.1)

    return serve


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    """Answers this to whatever it hears first."""

    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)

    return serve


@dataclass
class FhirStore:
    """A FHIR R4 server in memory: it checks a transaction, creates unless the identifier is there, resolves references."""

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)  # by Kind/id
    answer: tuple[int, bytes] | None = None  # instead of doing anything
    seen: list[dict[str, str]] = field(default_factory=list)  # headers
    url: str = ""

    def transact(self, body: bytes) -> dict[str, Any]:
        Bundle.model_validate_json(body)
        entries = json.loads(body)["entry"]
        places, statuses = {}, []
        for entry in entries:
            there = self._find(entry["request"])
            place = there or f"{entry['request']['url']}/{len(self.resources) + 1}"
            if not there:
                self.resources[place] = entry["resource"]
            places[entry["fullUrl"]] = place
            statuses.append("200 OK" if there else "201 Created")
        text = json.dumps(self.resources)
        for full_url, place in places.items():
            text = text.replace(f'"reference": "{full_url}"', f'"reference": "{place}"')
        self.resources = json.loads(text)
        entry = [{"response": {"status": status}} for status in statuses]
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": entry}

    def _find(self, request: dict[str, str]) -> str | None:
        system, value = re.split(r"(?<!\\)\|", parse_qs(request["ifNoneExist"])["identifier"][0])
        wanted = {"system": re.sub(r"\\(.)", r"\1", system), "value": re.sub(r"\\(.)", r"\1", value)}
        found = [
            place
            for place, resource in self.resources.items()
            if place.startswith(request["url"] + "/")
            and any(wanted.items() <= identifier.items() for identifier in resource["identifier"])
        ]
        assert len(found) <= 1
        return found[0] if found else None


@contextmanager
def fhir_server(**options: Any) -> Iterator[FhirStore]:
    store, app, port = FhirStore(), FastAPI(), free_port()

    @app.post("/fhir")
    async def transaction(request: Request) -> Response:
        store.seen.append(dict(request.headers))
        if store.answer:
            return Response(status_code=store.answer[0], content=store.answer[1], media_type="application/fhir+json")
        return Response(content=json.dumps(store.transact(await request.body())), media_type="application/fhir+json")

    @app.get("/fhir/metadata")
    async def metadata() -> dict[str, str]:
        return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started)
        store.url = f"{'https' if options else 'http'}://localhost:{port}/fhir"
        yield store
    finally:
        server.should_exit = True
        thread.join(10)
