"""Short texts that only one site can read, whoever carries them: ECDH on P-256, HKDF-SHA256, AES-256-GCM."""

import base64
import os
import uuid
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pneumoscope.errors import Rejected
from pneumoscope.fleet.pool_messages import Sealed

_NONCE_BYTES = 12
_PURPOSE = b"pneumoscope invitation 1"


def key_of(certificate_pem: str, *, authority_pem: str, site: str) -> ec.EllipticCurvePublicKey:
    """The key of ``site``, whose certificate the fleet's authority signed and which holds now. Raises Rejected."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem.encode()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = certificate.public_key()
        fits = f"urn:uuid:{uuid.UUID(site)}" in names.get_values_for_type(x509.UniformResourceIdentifier)
        holds = certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
        if fits and holds and isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return key
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        pass
    raise Rejected("The taker's certificate is not one of this fleet for that site.", code="pool-certificate")


def seal(text: str, *, to: ec.EllipticCurvePublicKey, task: str) -> Sealed:
    """``text`` for the owner of a key, bound to ``task``."""
    mine = ec.generate_private_key(ec.SECP256R1())
    public = mine.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    nonce = os.urandom(_NONCE_BYTES)
    content = nonce + AESGCM(_derive(mine, to, public)).encrypt(nonce, text.encode(), task.encode())
    return Sealed(id=task, key=base64.b64encode(public).decode(), content=base64.b64encode(content).decode())


def unseal(sealed: Sealed, *, by: ec.EllipticCurvePrivateKey) -> str:
    """The text. Raises Rejected where it is not for this key, or was altered."""
    try:
        public = base64.b64decode(sealed.key, validate=True)
        content = base64.b64decode(sealed.content, validate=True)
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        nonce, locked = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
        return AESGCM(_derive(by, theirs, public)).decrypt(nonce, locked, sealed.id.encode()).decode()
    except (ValueError, InvalidTag):
        raise Rejected("The invitation is not for this site, or was altered.", code="pool-invitation") from None


def _derive(mine: ec.EllipticCurvePrivateKey, theirs: ec.EllipticCurvePublicKey, public: bytes) -> bytes:
    shared = mine.exchange(ec.ECDH(), theirs)
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=public, info=_PURPOSE).derive(shared)
