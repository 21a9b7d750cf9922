"""A hub as a process, and sites that are nothing but a key and what they say."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pneumoscope.config import Settings, load_settings
from pneumoscope.fleet.messages import Report
from pneumoscope.fleet.token import Token
from pneumoscope.hub.inviting import invite
from servers import free_port, wait_for


@dataclass(frozen=True)
class Running:
    settings: Settings
    config: Path

    @property
    def pages(self) -> str:
        return f"https://localhost:{self.settings.hub.port}"

    def invite(self, title: str, *, province: str = "Hubei", again: str = "") -> Token:
        return Token.parse(invite(self.settings, title=title, province=province, again=again, actor="test"))


@contextmanager
def running_hub(folder: Path, *, more: str = "") -> Iterator[Running]:
    config = folder / "hub.toml"
    ports = f"port = {free_port()}\nsites_port = {free_port()}\n"
    config.write_text(f'[node]\nfolder = "{folder / "hub"}"\n[hub]\nname = "localhost"\nhost = "127.0.0.1"\n{ports}{more}')
    run = Running(settings=load_settings(config), config=config)
    with (folder / "hub.log").open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "pneumoscope.cli", "hub", "--config", str(config)], stdout=told, stderr=told
        )
        try:
            wait_for(lambda: b"hub is ready" in (folder / "hub.log").read_bytes(), seconds=90, what="the hub")
            yield run
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def request(key: ec.EllipticCurvePrivateKey) -> str:
    """PKCS#10 for a key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def post_join(token: Token, key: ec.EllipticCurvePrivateKey, *, secret: str = "") -> httpx.Response:
    """As a node joins: the authority is believed by its fingerprint alone."""
    blind = httpx.get(token.authority_url, verify=False)
    authority = x509.load_pem_x509_certificate(blind.content)
    assert authority.fingerprint(hashes.SHA256()).hex() == token.authority_sha256
    context = ssl.create_default_context(cadata=blind.text)
    return httpx.post(token.join_url, json={"secret": secret or token.secret, "csr": request(key)}, verify=context)


class Site:
    """One that has joined, with its files in ``folder``."""

    def __init__(self, folder: Path, answer: dict[str, str], key: ec.EllipticCurvePrivateKey) -> None:
        folder.mkdir()
        self.id, self.url, self.key, self._folder, self._authority = (
            answer["site"],
            answer["reports_url"],
            key,
            folder,
            answer["authority"],
        )
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "key.pem").write_bytes(private)
        self.wear(answer["certificate"])

    def wear(self, certificate: str) -> None:
        (self._folder / "certificate.pem").write_text(certificate)

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cadata=self._authority)
        context.load_cert_chain(self._folder / "certificate.pem", self._folder / "key.pem")
        return httpx.Client(base_url=self.url, verify=context, timeout=20)

    def report(self, told: Report) -> httpx.Response:
        with self.client() as client:
            return client.post("/report", content=told.model_dump_json())


def join(token: Token, folder: Path) -> Site:
    key = ec.generate_private_key(ec.SECP256R1())
    answer = post_join(token, key)
    assert answer.status_code == 200, answer.text
    return Site(folder, answer.json(), key)
