"""TCP and TLS towards a peer."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pneumoscope.errors import OperatorNeeded, RetryLater

#: How long a peer is listened to for the TLS alert that says why it breaks off.
ALERT_WAIT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Tls:
    """TLS by PS3.15 B.12 (BCP 195): version 1.2 at least; our certificate where the peer asks for one.

    All files are PEM. ``authorities`` need not be roots. Without them those of the operating system are trusted.
    """

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    check_hostname: bool = True  # off for devices whose certificate names no host; the authorities are checked all the same

    def context(self) -> ssl.SSLContext:
        """For a client. Raises OperatorNeeded where a file cannot be used."""
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority below the root, or a device's own certificate
            context.check_hostname = self.check_hostname
            if self.certificate:
                # an empty password, since OpenSSL would ask on the terminal for that of an encrypted key
                context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except OSError as fault:  # ssl.SSLError is one
            raise unusable(certificate=self.certificate, key=self.key, authorities=self.authorities) from fault
        return context


def unusable(
    *, certificate: Path | None, key: Path | None, authorities: Path | None = None, code: str = "tls-files"
) -> OperatorNeeded:
    """Which of our own files TLS could not be set up with, and why."""
    given = [file for file in (certificate, key, authorities) if file]
    for file in given:
        try:
            file.read_bytes()
        except OSError as reason:
            return OperatorNeeded(f"{file} cannot be read: {reason.strerror}.", code=code)
    if certificate and key and _are_strangers(certificate, key):
        return OperatorNeeded(f"{key} is not the key of {certificate}.", code=code)
    names = ", ".join(map(str, given))
    return OperatorNeeded(f"One of {names} cannot be used; PEM files without a password are needed.", code=code)


def _are_strangers(certificate: Path, key: Path) -> bool:
    """OpenSSL has several words for it."""
    try:
        ours = load_pem_private_key(key.read_bytes(), None).public_key()
        return ours != x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    except (ValueError, TypeError):  # no PEM, or with a password
        return False


def connect(host: str, port: int, *, context: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    """An open connection without Nagle's delay. Raises RetryLater or, where TLS itself fails, OperatorNeeded."""
    try:
        sock = socket.create_connection((host, port), timeout_s)
    except OSError as fault:
        raise unreachable(fault) from fault
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return sock
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except OSError as fault:
        sock.close()
        raise explain(fault) from fault


def diagnose(host: str, port: int, *, context: ssl.SSLContext | None, timeout_s: float) -> RetryLater | OperatorNeeded | None:
    """Connect and say nothing, to learn why a conversation failed; None where nothing is wrong up to TLS.

    In TLS 1.3 the peer tells of a certificate that it does not like only after the handshake, and what we wrote meanwhile may
    have broken the connection before the alert was read.
    """
    try:
        with connect(host, port, context=context, timeout_s=timeout_s) as sock:
            if context:
                sock.settimeout(min(timeout_s, ALERT_WAIT_S))
                sock.recv(1)
    except (RetryLater, OperatorNeeded) as fault:
        return fault
    except TimeoutError:
        return None
    except OSError as fault:
        return explain(fault)
    return None


def unreachable(fault: OSError) -> RetryLater:
    """No connection came about."""
    if isinstance(fault, socket.gaierror):
        return RetryLater("The peer's host name is not known to the network.", code="peer-unreachable")
    reason = "no answer in time" if isinstance(fault, TimeoutError) else fault.strerror or "no reason known"
    return RetryLater(f"The peer cannot be reached: {reason}.", code="peer-unreachable")


def explain(fault: OSError) -> RetryLater | OperatorNeeded:
    """Why a connection that stood broke."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return OperatorNeeded(f"The peer's certificate is not trusted: {fault.verify_message.rstrip('.')}.", code="tls-failed")
    if isinstance(fault, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return RetryLater("The peer closed the connection during TLS.", code="peer-aborted")
    if isinstance(fault, ssl.SSLError):
        reason = (fault.reason or "unknown").replace("_", " ").lower()  # OpenSSL's own name, not the peer's words
        return OperatorNeeded(f"TLS with the peer failed: {reason}; version 1.2 or later is needed.", code="tls-failed")
    if isinstance(fault, TimeoutError):
        return RetryLater("The peer did not answer in time.", code="peer-silent")
    return RetryLater("The peer closed the connection.", code="peer-aborted")


def too_slow() -> RetryLater:
    """The deadline of the whole delivery passed."""
    return RetryLater("The delivery was not done in the time set for it.", code="peer-too-slow")
