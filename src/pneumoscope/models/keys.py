"""Public keys, and signatures in the format of minisign (https://jedisct1.github.io/minisign/), which its own tool can check.

A signature is Ed25519 over the BLAKE2b-512 digest of the file; a second one over the first and the trusted comment.
"""

import base64
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.errors import OperatorNeeded

HOME_VARIABLE = "PNEUMOSCOPE_HOME"
SHIPPED_KEYS = Path(__file__).parent / "trusted_keys"
_KEY_BYTES, _SIGNATURE_BYTES, _ID_BYTES = 32, 64, 8
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
#: What minisign writes unless told otherwise. No other is taken: it is the one line that no signature covers.
_DEFAULT_COMMENT = "signature from minisign secret key"


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """``name`` is ours for it, from the name of its file; ``key_id`` is what a signature names it by."""

    name: str
    key_id: bytes
    key: bytes

    @property
    def title(self) -> str:
        """Name and number, the latter as minisign prints it."""
        return f"{self.name} ({shown_id(self.key_id)})"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whose signatures are believed. ``unsigned``: take a bundle without any, as a developer of models must."""

    keys: tuple[PublicKey, ...] = ()
    unsigned: bool = False


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parts of a signature file."""

    key_id: bytes
    signature: bytes  # over the digest of the file
    trusted_comment: str
    global_signature: bytes  # over signature and trusted comment


def shown_id(key_id: bytes) -> str:
    """16 hex digits, as minisign prints them."""
    return key_id[::-1].hex().upper()


def prehash(content: bytes) -> bytes:
    """What is signed instead of the content."""
    return hashlib.blake2b(content, digest_size=64).digest()


def home() -> Path:
    """Folder for what is installed on this machine: ``PNEUMOSCOPE_HOME``, or the platform's own place for a user's data."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pneumoscope"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "pneumoscope"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "pneumoscope"


def trust(*, unsigned: bool = False) -> Trust:
    """The keys of the package, and those that this machine's operator put into ``trusted_keys`` beside the models."""
    own = home() / "trusted_keys"
    keys = (*read_keys(SHIPPED_KEYS), *(read_keys(own) if own.is_dir() else ()))
    return Trust(keys=keys, unsigned=unsigned)


def read_keys(place: Path) -> tuple[PublicKey, ...]:
    """The key in a file, or those in the ``.pub`` files of a folder. Raises OperatorNeeded."""
    try:
        paths = sorted(place.glob("*.pub")) if place.is_dir() else [place]
        return tuple(_parse_key(path.read_bytes(), name=path.stem) for path in paths)
    except OSError as fault:
        raise OperatorNeeded("A public key that should be trusted cannot be read.", code="key-unreadable") from fault


def _parse_key(raw: bytes, *, name: str) -> PublicKey:
    lines = raw.decode("utf-8", "replace").split()
    decoded = _decode(lines[-1]) if lines else b""
    if len(decoded) != 2 + _ID_BYTES + _KEY_BYTES or not decoded.startswith(b"Ed"):
        raise OperatorNeeded(
            f"A file of {len(raw)} bytes that should hold a public key to be trusted does not; allowed are keys as minisign "
            "writes them.",
            code="key-unreadable",
        )
    return PublicKey(name=name, key_id=decoded[2 : 2 + _ID_BYTES], key=decoded[2 + _ID_BYTES :])


def encode_key(key: PublicKey) -> bytes:
    """The public key's file."""
    encoded = base64.b64encode(b"Ed" + key.key_id + key.key).decode()
    return f"{_UNTRUSTED}minisign public key {shown_id(key.key_id)}\n{encoded}\n".encode()


def encode_signature(signature: Signature) -> bytes:
    """The signature's file."""
    first = base64.b64encode(b"ED" + signature.key_id + signature.signature).decode()
    second = base64.b64encode(signature.global_signature).decode()
    return f"{_UNTRUSTED}{_DEFAULT_COMMENT}\n{first}\n{_TRUSTED}{signature.trusted_comment}\n{second}\n".encode()


def check_signature(content: bytes, raw_signature: bytes, trust: Trust) -> PublicKey:
    """The trusted key that signed ``content``. Raises OperatorNeeded where there is none."""
    signature = _parse_signature(raw_signature)
    candidates = [key for key in trust.keys if key.key_id == signature.key_id]
    if not candidates:
        known = ", ".join(key.title for key in trust.keys) or "none"
        raise OperatorNeeded(
            f"The model is signed by key {shown_id(signature.key_id)}, which is not trusted here; trusted: {known}.",
            code="model-unknown-key",
        )
    for key in candidates:
        if _signed(key, content, signature):
            return key
    raise OperatorNeeded(
        f"The signature of bundle.json is not one that key {candidates[0].title} made of it; one of the two was altered. "
        "Install the model again.",
        code="model-bad-signature",
    )


def _signed(key: PublicKey, content: bytes, signature: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        verifier = Ed25519PublicKey.from_public_bytes(key.key)
        verifier.verify(signature.signature, prehash(content))
        verifier.verify(signature.global_signature, signature.signature + signature.trusted_comment.encode())
    except InvalidSignature:
        return False
    return True


def _parse_signature(raw: bytes) -> Signature:
    lines = raw.decode("utf-8", "replace").split("\n")
    if len(lines) == 5:
        first, second = _decode(lines[1]), _decode(lines[3])
        signature = Signature(
            key_id=first[2 : 2 + _ID_BYTES],
            signature=first[2 + _ID_BYTES :],
            trusted_comment=lines[2].removeprefix(_TRUSTED),
            global_signature=second,
        )
        # written anew it must be the same, so that no byte of the file is free: Base64 has spare bits
        if len(signature.signature) == len(second) == _SIGNATURE_BYTES and encode_signature(signature) == raw:
            return signature
    raise OperatorNeeded(
        f"bundle.sig, {len(raw)} bytes, is no signature; allowed are those that minisign writes, prehashed and with its own "
        "untrusted comment.",
        code="model-bad-signature",
    )


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
