"""Keys, signatures and manifests of bundles; needs no torch."""

import hashlib
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pneumoscope.models import Calibration, PublicKey
from pneumoscope.models.keys import Signature, encode_key, encode_signature, prehash
from pneumoscope.models.manifest import FORMAT_VERSION, MANIFEST_NAME, SIGNATURE_NAME, check_version, device_uid

WEIGHTS_NAME = "network.onnx"
NAME, LICENCE = "lung-lesion", "Apache-2.0"
INTENDED_USE = (
    "Research: sorting and measuring chest CT of adults by signs of pneumonia of the COVID-19 pattern. Not a medical device, "
    "not for primary diagnosis."
)


def make_key(secret: Path, public: Path) -> None:
    """Write a new private key, readable by its owner alone, and its public key as minisign would."""
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    public.write_bytes(encode_key(_public(key, name=public.stem)))


def write_manifest(folder: Path, *, version: str, lesion_threshold: float, calibration: Calibration) -> None:
    """List every file of the folder with its digest in ``bundle.json``; an older signature goes."""
    (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        files[path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": NAME,
        "version": check_version(version),
        "device_uid": device_uid(files[WEIGHTS_NAME]["sha256"]),
        "intended_use": INTENDED_USE,
        "licence": LICENCE,
        "weights": WEIGHTS_NAME,
        "lesion_threshold": lesion_threshold,
        "calibration": asdict(calibration),
        "files": files,
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def sign(folder: Path, secret: Path) -> None:
    """Sign the manifest, and by its digests every file, with a private key from ``make_key``."""
    key = load_pem_private_key(secret.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("the key is no Ed25519 key")
    digest = prehash((folder / MANIFEST_NAME).read_bytes())
    signature = key.sign(digest)
    comment = f"timestamp:{int(datetime.now(UTC).timestamp())}\tfile:{MANIFEST_NAME}\tprehashed"
    whole = Signature(
        key_id=_public(key, name="").key_id,
        signature=signature,
        trusted_comment=comment,
        global_signature=key.sign(signature + comment.encode()),
    )
    (folder / SIGNATURE_NAME).write_bytes(encode_signature(whole))


def _public(key: Ed25519PrivateKey, *, name: str) -> PublicKey:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PublicKey(name=name, key_id=hashlib.blake2b(raw, digest_size=8).digest(), key=raw)
