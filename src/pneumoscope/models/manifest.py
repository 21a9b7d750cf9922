"""What ``bundle.json`` says, checked key by key before anything of it is used."""

import json
import math
import re
import uuid
from dataclasses import dataclass, fields
from typing import Any

from pneumoscope.errors import OperatorNeeded

MANIFEST_NAME = "bundle.json"
SIGNATURE_NAME = "bundle.sig"
FORMAT_VERSION = 3
#: Far above any bundle of ours; what claims more is not read into memory.
MAX_BUNDLE_BYTES = 2 * 2**30

#: https://semver.org/#is-there-a-suggested-regular-expression-regex-to-check-a-semver-string, in ASCII
_SEMANTIC = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEVICE_NAMESPACE = uuid.UUID("3f0d8a52-4e0e-4c6f-8f2c-0d7a5c1b9e44")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """From the share of lung involved and the log odds of its pattern to a probability.

    1 / (1 + exp(-(intercept + slope * log10(share + floor) + pattern_slope * pattern))). A study, judged by its most involved
    stretch, and a single slice have each their own numbers: a clean slice says less than a clean study. So have the limits:
    below ``no_sign_below`` the category is "no sign", from ``sign_from`` on it is "sign". A study's probability is then drawn
    in to lie between 1 - ``surest`` and ``surest``: no surer than the few cases allow that it was fitted on.
    """

    intercept: float
    slope: float
    pattern_slope: float
    surest: float
    slice_intercept: float
    slice_slope: float
    slice_pattern_slope: float
    floor: float
    no_sign_below: float
    sign_from: float
    slice_no_sign_below: float
    slice_sign_from: float


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """What a file of the bundle must be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``bundle.json``; ``files`` holds every other file of the folder but the signature, by name."""

    name: str
    version: str
    device_uid: str
    intended_use: str
    licence: str
    weights: str
    lesion_threshold: float
    calibration: Calibration
    files: dict[str, FileEntry]


def device_uid(weights_sha256: str) -> str:
    """The Device UID that follows from the digest of the weights, so that every retraining has another (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_DEVICE_NAMESPACE, weights_sha256).int}"


def check_version(version: object) -> str:
    """``version`` where it is semantic; raises OperatorNeeded where not."""
    if not isinstance(version, str) or len(version) > 64 or not _SEMANTIC.fullmatch(version):
        raise OperatorNeeded(
            f"The model's version is {_shown(version)}; allowed are semantic versions such as 1.2.3.", code="model-version"
        )
    return version


def parse_manifest(raw: bytes) -> Manifest:
    """Raises OperatorNeeded for the first thing that is not as it must be."""
    document = _parse_json(raw)
    if document.get("format_version") != FORMAT_VERSION or document["format_version"] is True:
        raise OperatorNeeded(
            f"bundle.json has format version {_shown(document.get('format_version'))}; allowed here is {FORMAT_VERSION}.",
            code="model-format",
        )
    version = check_version(document.get("version"))
    manifest = Manifest(
        name=_text(document, "name", pattern=_NAME, allowed="lower-case words joined by hyphens"),
        version=version,
        device_uid=_text(document, "device_uid", pattern=re.compile(r"2\.25\.[1-9][0-9]{0,38}"), allowed="a UUID under 2.25"),
        intended_use=_text(document, "intended_use"),
        licence=_text(document, "licence"),
        weights=_text(document, "weights"),
        lesion_threshold=_number(document, "lesion_threshold", low=0.0, high=1.0),
        calibration=_calibration(_mapping(document, "calibration")),
        files=_files(_mapping(document, "files")),
    )
    if manifest.weights not in manifest.files:
        raise _malformed("weights", manifest.weights, "one of the files listed")
    return manifest


def _parse_json(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_doubles)
    except (ValueError, RecursionError) as fault:
        raise OperatorNeeded(
            "bundle.json is not a JSON text; allowed is one object in UTF-8, each key once.", code="model-malformed"
        ) from fault
    if not isinstance(document, dict):
        raise _malformed("the whole", document, "one object")
    return document


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _calibration(given: dict[str, Any]) -> Calibration:
    number = {field.name: _number(given, field.name) for field in fields(Calibration)}
    calibration = Calibration(**number)
    if not calibration.floor > 0:
        raise _malformed("floor", calibration.floor, "a share above 0")
    if not 0.5 < calibration.surest <= 1:
        raise _malformed("surest", calibration.surest, "a probability above 0.5, to 1")
    for low, high in (
        (calibration.no_sign_below, calibration.sign_from),
        (calibration.slice_no_sign_below, calibration.slice_sign_from),
    ):
        if not 0 <= low <= high <= 1:
            raise _malformed("sign_from", high, "a probability from no_sign_below to 1")
    return calibration


def _files(given: dict[str, Any]) -> dict[str, FileEntry]:
    files = {}
    for name in given:
        if not _FILE_NAME.fullmatch(name) or name in (MANIFEST_NAME, SIGNATURE_NAME):
            raise OperatorNeeded(
                f"bundle.json lists a file {_shown(name)}; allowed are other files in its own folder, named by "
                "letters, digits, dots, hyphens and underscores.",
                code="model-unsafe-name",
            )
        entry = _mapping(given, name)
        size_bytes = entry.get("size_bytes")
        if not isinstance(size_bytes, int) or isinstance(size_bytes, bool) or size_bytes < 0:
            raise _malformed("size_bytes", size_bytes, "a whole number of bytes")
        files[name] = FileEntry(sha256=_text(entry, "sha256", pattern=_SHA256, allowed="64 hex digits"), size_bytes=size_bytes)
    total_bytes = sum(entry.size_bytes for entry in files.values())
    if total_bytes > MAX_BUNDLE_BYTES:
        raise _malformed("files", f"{total_bytes} bytes in all", f"at most {MAX_BUNDLE_BYTES} bytes")
    return files


def _mapping(given: dict[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key)
    if not isinstance(value, dict):
        raise _malformed(key, value, "an object")
    return value


def _text(given: dict[str, Any], key: str, *, pattern: re.Pattern[str] | None = None, allowed: str = "a text") -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value.strip() or (pattern and not pattern.fullmatch(value)):
        raise _malformed(key, value, allowed)
    return value


def _number(given: dict[str, Any], key: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    value = given.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise _malformed(key, value, "a finite number" if math.isinf(low) else f"a number from {low:g} to {high:g}")
    return float(value)


def _malformed(key: str, found: object, allowed: str) -> OperatorNeeded:
    return OperatorNeeded(f"bundle.json has {_shown(found)} for {key}; allowed is {allowed}.", code="model-malformed")


def _shown(value: object) -> str:
    """Short, printable, quoted where it is a text."""
    text = "nothing" if value is None else ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
