"""TLS of the listener, by PS3.15 B.12 (BCP 195)."""

import ssl

from pneumoscope.config import Tls
from pneumoscope.delivery.connection import unusable


def server_context(tls: Tls) -> ssl.SSLContext | None:
    """None where no certificate is set. With authorities a peer needs a certificate of theirs. Raises OperatorNeeded."""
    if tls.certificate is None:
        return None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
        if tls.authorities:
            context.load_verify_locations(tls.authorities)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as fault:  # ssl.SSLError is one
        raise unusable(certificate=tls.certificate, key=tls.key, authorities=tls.authorities) from fault
    return context
