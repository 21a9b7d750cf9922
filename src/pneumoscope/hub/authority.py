"""The hub's own certificate authority: it signs the hub's certificate and those of the sites, and nothing else."""

import ipaddress
import os
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pneumoscope.errors import OperatorNeeded, Rejected
from pneumoscope.store import now

AUTHORITY_DAYS = 3653
SERVER_DAYS = 397
#: The hub's own certificate is made anew when it holds no longer than this.
NEAR_DAYS = 60
#: Clocks of sites may be behind ours.
_BEFORE = timedelta(hours=24)
_Key = ec.EllipticCurvePrivateKey


class Authority:
    """Key and certificate in ``folder``, made when they are not there. Raises OperatorNeeded where they cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            if not self.certificate_path.exists():
                self._make()
            self._key = _load_key(folder / "authority.key")
            self.certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
        except (OSError, ValueError, TypeError) as fault:
            raise OperatorNeeded(
                "The hub's certificates cannot be made or read; needed are authority.key and authority.pem in its folder.",
                code="authority-unusable",
            ) from fault

    @property
    def certificate_path(self) -> Path:
        """The CA certificate, PEM."""
        return self.folder / "authority.pem"

    @property
    def server_paths(self) -> tuple[Path, Path]:
        """Certificate and key of the hub as a server, PEM."""
        return self.folder / "server.pem", self.folder / "server.key"

    @property
    def pem(self) -> str:
        """The CA certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def sha256(self) -> str:
        """Fingerprint of the CA certificate, hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def serve_as(self, name: str) -> bool:
        """Have a server certificate for ``name`` that holds for long enough; whether a new one was made."""
        path, key_path = self.server_paths
        if path.exists() and key_path.exists():
            held = x509.load_pem_x509_certificate(path.read_bytes())
            if held.not_valid_after_utc - now() > timedelta(days=NEAR_DAYS) and _alternative(held) == _general(name):
                return False
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(
            _name(name), key.public_key(), days=SERVER_DAYS, subject=_general(name), use=ExtendedKeyUsageOID.SERVER_AUTH
        )
        _write(key_path, _private(key), mode=0o600)
        _write(path, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return True

    def sign_site(self, csr_pem: str, site: str, *, days: float) -> tuple[str, str, datetime]:
        """Certificate (PEM), serial and end for a site's request, of which only the key counts. Raises Rejected."""
        key = read_request(csr_pem)
        uri = x509.UniformResourceIdentifier(f"urn:uuid:{uuid.UUID(site)}")
        made = self._signed(_name(site), key, days=days, subject=uri, use=ExtendedKeyUsageOID.CLIENT_AUTH)
        return made.public_bytes(serialization.Encoding.PEM).decode(), f"{made.serial_number:x}", made.not_valid_after_utc

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Pneumoscope hub")
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        made = (
            _builder(name, key.public_key(), days=AUTHORITY_DAYS)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self.folder / "authority.key", _private(key), mode=0o600)
        _write(self.certificate_path, made.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        days: float,
        subject: x509.GeneralName,
        use: x509.ObjectIdentifier,
    ) -> x509.Certificate:
        identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            _builder(name, key, days=days)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def identity(der: bytes) -> tuple[str, str]:
    """Site and serial of a certificate that the TLS layer has verified. Raises Rejected."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if uri.startswith("urn:uuid:"):
            return uri.removeprefix("urn:uuid:"), f"{certificate.serial_number:x}"
    raise Rejected("The certificate names no site.", code="site-unknown")


def read_request(csr_pem: str) -> ec.EllipticCurvePublicKey:
    """The key that a PKCS#10 request (PEM) is for, whose owner signed it. Raises Rejected."""
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        if request.is_signature_valid and isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
            return key
    except (ValueError, TypeError, InvalidSignature):
        pass
    raise Rejected("The certificate request cannot be used; needed is PKCS#10, PEM, signed, for a P-256 key.", code="csr-wrong")


def _builder(name: x509.Name, key: ec.EllipticCurvePublicKey, *, days: float) -> x509.CertificateBuilder:
    moment = now()
    builder = x509.CertificateBuilder().subject_name(name).public_key(key).serial_number(x509.random_serial_number())
    return builder.not_valid_before(moment - _BEFORE).not_valid_after(moment + timedelta(days=days))


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _alternative(certificate: x509.Certificate) -> x509.GeneralName:
    return next(iter(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _private(key: _Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _load_key(path: Path) -> _Key:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError
    return key


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Whole or not at all, and never readable by others on the way."""
    partial = path.with_name(f".partial-{path.name}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
