"""What a bundle's folder holds, checked from the signature down to the last byte.

Every file is read once: the bytes that were checked are those that are handed on.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pneumoscope.errors import OperatorNeeded
from pneumoscope.models.keys import PublicKey, Trust, check_signature
from pneumoscope.models.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest, device_uid, parse_manifest

MAX_MANIFEST_BYTES = 2**20
MAX_SIGNATURE_BYTES = 4096
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at; ``fault`` says what is wrong with it; ``done`` is False where an earlier fault hid it."""

    title: str
    fault: OperatorNeeded | None = None
    done: bool = True


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found in ``folder``. ``files``: every file with its bytes, manifest and signature too, where all is well."""

    folder: Path
    checks: tuple[Check, ...]
    manifest: Manifest | None
    signer: PublicKey | None
    files: Mapping[str, bytes]

    @property
    def fault(self) -> OperatorNeeded | None:
        """The first fault."""
        return next((check.fault for check in self.checks if check.fault), None)


def examine(folder: Path, *, trust: Trust) -> Examination:
    """Look at everything and raise nothing."""
    checks: list[Check] = []

    def passes(title: str, step: Callable[[], _Result], *, possible: bool = True) -> _Result | None:
        if not possible:
            checks.append(Check(title=title, done=False))
            return None
        try:
            result = step()
        except OperatorNeeded as fault:
            checks.append(Check(title=title, fault=fault))
            return None
        checks.append(Check(title=title))
        return result

    raw = passes("bundle.json can be read", lambda: _read_manifest(folder))
    signed = passes("bundle.json is signed by a trusted key", lambda: _read_signature(folder, raw, trust), possible=bool(raw))
    manifest = passes("bundle.json says what it must", lambda: parse_manifest(raw or b""), possible=bool(raw))
    known = manifest is not None
    names = passes("no file is missing, none is there beside", lambda: _names(folder, manifest), possible=known)
    content = passes("every file is as bundle.json says", lambda: _read_files(folder, manifest), possible=bool(names))
    passes("the Device UID follows from the weights", lambda: _check_device(manifest), possible=known)
    files = {}
    if raw and signed and content and all(check.done and not check.fault for check in checks):
        signature, _ = signed
        files = {**content, MANIFEST_NAME: raw} | ({SIGNATURE_NAME: signature} if signature else {})
    return Examination(
        folder=folder,
        checks=tuple(checks),
        manifest=manifest,
        signer=signed[1] if signed else None,
        files=MappingProxyType(files),
    )


def _read_manifest(folder: Path) -> bytes:
    try:
        return _read(folder / MANIFEST_NAME, most_bytes=MAX_MANIFEST_BYTES)
    except FileNotFoundError as fault:
        raise OperatorNeeded(
            "There is no model where one was looked for; needed is a folder with a bundle.json. Install the model again.",
            code="model-missing",
        ) from fault


def _read_signature(folder: Path, manifest: bytes | None, trust: Trust) -> tuple[bytes, PublicKey | None]:
    try:
        raw = _read(folder / SIGNATURE_NAME, most_bytes=MAX_SIGNATURE_BYTES)
    except FileNotFoundError as fault:
        if trust.unsigned:
            return b"", None
        raise OperatorNeeded(
            "The model has no signature, bundle.sig; allowed are models signed by a trusted key.", code="model-unsigned"
        ) from fault
    return raw, check_signature(manifest or b"", raw, trust)


def _names(folder: Path, manifest: Manifest | None) -> frozenset[str]:
    assert manifest is not None
    listed = frozenset(manifest.files) | {MANIFEST_NAME}
    found = {entry.name for entry in folder.iterdir()} - {SIGNATURE_NAME}
    if missing := sorted(listed - found):
        raise OperatorNeeded(
            f"The model lacks {len(missing)} of its {len(listed)} files, among them {missing[0]}; install it again.",
            code="model-file-missing",
        )
    if strangers := found - listed:  # not named: a stray file may be of a patient
        raise OperatorNeeded(
            f"The model's folder holds {len(strangers)} files or folders that its bundle.json does not list; allowed are those "
            "listed. Remove the others.",
            code="model-extra-file",
        )
    return listed


def _read_files(folder: Path, manifest: Manifest | None) -> dict[str, bytes]:
    assert manifest is not None
    files = {}
    for name, entry in manifest.files.items():
        content = _read(folder / name, most_bytes=entry.size_bytes)
        digest = hashlib.sha256(content).hexdigest()
        if digest != entry.sha256:
            raise OperatorNeeded(
                f"The model's {name} has {len(content)} bytes with sha256 {digest[:12]}...; bundle.json says "
                f"{entry.size_bytes} bytes with {entry.sha256[:12]}.... Install the model again.",
                code="model-altered",
            )
        files[name] = content
    return files


def _check_device(manifest: Manifest | None) -> None:
    assert manifest is not None
    expected = device_uid(manifest.files[manifest.weights].sha256)
    if manifest.device_uid != expected:
        raise OperatorNeeded(
            f"bundle.json has Device UID {manifest.device_uid}; that of these weights is {expected}. It was packaged wrongly.",
            code="model-device-uid",
        )


def _read(path: Path, *, most_bytes: int) -> bytes:
    """A plain file, whole, or more bytes than ``most_bytes`` by one. Raises FileNotFoundError, else OperatorNeeded."""
    try:
        # a named pipe would wait for ever
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a plain file")
            return file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise FileNotFoundError from fault
    except OSError as fault:
        reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
        raise OperatorNeeded(f"A file of the model cannot be read: {reason}.", code="model-unreadable") from fault
