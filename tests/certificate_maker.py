"""Certificates for both sides of TLS, made for one run of the tests."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pneumoscope.delivery.connection import Tls


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, a server and a client that it signed, and a stranger that signed itself."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    @property
    def client(self) -> Tls:
        return Tls(certificate=self["client.pem"], key=self["client.key"], authorities=self["ca.pem"])

    @property
    def nobody(self) -> Tls:
        """Trusts the server but brings no certificate."""
        return Tls(authorities=self["ca.pem"])

    @property
    def distrustful(self) -> Tls:
        """Does not know the authority."""
        return Tls(certificate=self["client.pem"], key=self["client.key"], authorities=self["stranger.pem"])

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self["ca.pem"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self["server.pem"], self["server.key"])
        return context


def make_certificates(folder: Path) -> Certificates:
    authority = _issue(folder, "ca", None)
    _issue(folder, "server", authority)
    _issue(folder, "client", authority)
    _issue(folder, "stranger", None)
    return Certificates(folder)


def _issue(folder: Path, name: str, issuer: tuple | None) -> tuple:
    key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if name == "server"
        else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by_name, by_key = issuer or (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(by_key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key
