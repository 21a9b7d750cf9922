"""What a node keeps of its fleet, in ``<node.folder>/fleet``: its name, key and certificate there, the hub's last orders."""

import hashlib
import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.fleet.messages import Orders
from pneumoscope.store import now

_MEMBERSHIP, _KEY, _CERTIFICATE, _AUTHORITY, _ORDERS = (
    "membership.json",
    "key.pem",
    "certificate.pem",
    "authority.pem",
    "orders.json",
)
#: A certificate is renewed when so much of its life is left.
RENEW_AT_SHARE = 1 / 3


class Facts(BaseModel):
    """``membership.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    site: str
    title: str
    province: str
    reports_url: str
    joined_at: AwareDatetime


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A node's place in a fleet, as it lies in ``folder``."""

    folder: Path
    facts: Facts
    certificate: x509.Certificate

    @property
    def days_left(self) -> float:
        """How long the certificate holds, below 0 where it does no more."""
        return (self.certificate.not_valid_after_utc - now()).total_seconds() / 86_400

    @property
    def _life_days(self) -> float:
        whole = self.certificate.not_valid_after_utc - self.certificate.not_valid_before_utc
        return whole.total_seconds() / 86_400

    @property
    def wants_renewal(self) -> bool:
        """Whether a third of the certificate's life is left, or less."""
        return self.days_left < RENEW_AT_SHARE * self._life_days

    @property
    def alarm_at_days(self) -> float:
        """With fewer days left, people should know."""
        return RENEW_AT_SHARE * self._life_days / 2

    @property
    def certificate_ends_at(self) -> datetime:
        """When the certificate ends."""
        return self.certificate.not_valid_after_utc

    def tls(self) -> ssl.SSLContext:
        """TLS to the hub: its authority alone is believed, and our certificate is shown."""
        return tls(self.folder / _AUTHORITY, self.folder / _CERTIFICATE, self.folder / _KEY)


def folder(settings: Settings) -> Path:
    """Where all of it lies."""
    return settings.node.folder.absolute() / "fleet"


def is_member(settings: Settings) -> bool:
    """Whether the node has joined a fleet."""
    return (folder(settings) / _MEMBERSHIP).exists()


def load(settings: Settings) -> Membership | None:
    """The node's membership, or None. Raises OperatorNeeded where what is there cannot be used."""
    place = folder(settings)
    if not is_member(settings):
        return None
    try:
        facts = Facts.model_validate_json((place / _MEMBERSHIP).read_bytes())
        certificate = x509.load_pem_x509_certificate((place / _CERTIFICATE).read_bytes())
        return Membership(folder=place, facts=facts, certificate=certificate)
    except (OSError, ValueError, ValidationError) as fault:
        raise OperatorNeeded(
            "What the node keeps of its fleet cannot be read; join again with a new token of the hub.",
            code="membership-unusable",
        ) from fault


def keep(place: Path, facts: Facts, *, certificate: str, authority: str) -> None:
    """Write all but the key; the node is a member once the last of it is there."""
    write(place / _AUTHORITY, authority.encode())
    write(place / _CERTIFICATE, certificate.encode())
    write(place / _MEMBERSHIP, facts.model_dump_json(indent=2).encode())


def keep_certificate(place: Path, pem: str) -> None:
    """Put a renewed certificate in place of the last. Raises ValueError where it is not of our key."""
    if x509.load_pem_x509_certificate(pem.encode()).public_key() != load_key(place).public_key():
        raise ValueError("not of our key")
    write(place / _CERTIFICATE, pem.encode())


def orders(place: Path) -> Orders | None:
    """The last orders of the hub; None where there are none that can be read."""
    try:
        return Orders.model_validate_json((place / _ORDERS).read_bytes())
    except (OSError, ValidationError):
        return None


def keep_orders(place: Path, given: Orders) -> None:
    """They hold until the next, also after a restart."""
    write(place / _ORDERS, given.model_dump_json().encode())


def load_key(place: Path) -> ec.EllipticCurvePrivateKey:
    """Our private key, made where there is none. It never leaves the folder. Raises OperatorNeeded."""
    path = place / _KEY
    try:
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o700)
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            write(path, made.private_bytes(*form))
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as fault:
        raise OperatorNeeded(
            "The node's key for its fleet cannot be made or read; needed is a folder that can be written.",
            code="membership-unusable",
        ) from fault
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def request(key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate request, PEM; the hub names the site, so the request does not."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pneumoscope site")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, hexadecimal. Raises ValueError."""
    return hashlib.sha256(x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)).hexdigest()


def tls(authority: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A client's TLS that believes this authority and no other. Raises OperatorNeeded."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(authority)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as fault:
        raise OperatorNeeded(
            "The certificates of the node's fleet cannot be used; join again with a new token of the hub.",
            code="membership-unusable",
        ) from fault
    return context


def write(path: Path, content: bytes) -> None:
    """Whole or not at all, for its owner's eyes."""
    partial = path.with_name(f".partial-{path.name}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
