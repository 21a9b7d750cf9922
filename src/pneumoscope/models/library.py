"""Bundles on this machine: those shipped, those installed; how one is installed."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.errors import OperatorNeeded, Rejected
from pneumoscope.models import DEFAULT_BUNDLE, Examination, examine, home, load_bundle, trust


class NotInstalled(Rejected):
    """A bundle that may not be put beside those that are here."""

    default_code = "model-not-installed"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A bundle that is here. ``shipped``: part of the package."""

    examination: Examination
    shipped: bool


def models_folder() -> Path:
    """Where installed bundles lie, each in a folder NAME-VERSION."""
    return home() / "models"


def places() -> list[Place]:
    """Every bundle here, whole or not."""
    found = [Place(examination=examine(DEFAULT_BUNDLE, trust=trust()), shipped=True)]
    if models_folder().is_dir():
        for folder in sorted(path for path in models_folder().iterdir() if path.is_dir() and not path.name.startswith(".")):
            found.append(Place(examination=examine(folder, trust=trust()), shipped=False))
    return found


def find(name: str) -> Path:
    """The folder of a bundle: a path, or NAME or NAME-VERSION of an installed one. Raises OperatorNeeded."""
    if Path(name).is_dir():
        return Path(name)
    matching = []
    for place in places():
        manifest = place.examination.manifest
        if manifest and name in (manifest.name, f"{manifest.name}-{manifest.version}"):
            matching.append((_order(manifest.version), place.examination.folder))
    if not matching:
        raise OperatorNeeded(
            "No model of this name is installed; `pneumoscope model list` shows those that are.", code="model-unknown"
        )
    return max(matching)[1]


def title_of(name: str) -> str:
    """Name and version of a bundle that verifies; ``name`` as in ``find``, empty for that shipped. Raises OperatorNeeded."""
    bundle = load_bundle(find(name) if name else DEFAULT_BUNDLE)
    return f"{bundle.model.name} {bundle.model.version}"


def install(folder: Path, *, replace: bool = False) -> Path:
    """Put a bundle's verified files in place and return their folder; nothing is there until all is.

    Raises OperatorNeeded for a bundle that does not pass every check, and unless ``replace`` NotInstalled for one that is older
    than, or another of the same version as, one installed.
    """
    found = examine(folder, trust=trust())
    if found.fault:
        raise found.fault
    assert found.manifest is not None
    manifest = found.manifest
    target = models_folder() / f"{manifest.name}-{manifest.version}"
    if not replace:
        _refuse_older(found, target)
    try:
        models_folder().mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=models_folder()))
        try:
            for name, content in found.files.items():  # the bytes that were checked, not the files once more
                with (partial / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            partial.chmod(0o755)
            if target.exists():
                old = partial.with_name(partial.name + "-old")
                target.rename(old)
                partial.rename(target)
                shutil.rmtree(old, ignore_errors=True)
            else:
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as fault:
        reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
        raise OperatorNeeded(
            f"The model cannot be installed: {reason}; nothing was changed.", code="model-install-failed"
        ) from fault
    return target


def _refuse_older(found: Examination, target: Path) -> None:
    assert found.manifest is not None
    manifest = found.manifest
    for place in places():
        other = place.examination.manifest
        if place.shipped or not other or other.name != manifest.name:
            continue
        if other.version == manifest.version and other.files != manifest.files:
            raise NotInstalled(
                f"{manifest.name} {manifest.version} is installed with other content; --replace puts this one in its place.",
                code="model-same-version",
            )
        if _order(other.version) > _order(manifest.version) and not target.exists():
            raise NotInstalled(
                f"{manifest.name} {other.version} is installed, {manifest.version} is older; --replace installs it too.",
                code="model-older",
            )


def _order(version: str) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
    """Precedence of semantic versions (semver.org, 11)."""
    core, _, rest = version.partition("+")[0].partition("-")
    major, minor, patch = (int(part) for part in core.split("."))
    parts = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"\.", rest) if rest)
    return (major, minor, patch), not rest, parts
