"""What the fleet's story is made of: phantoms and models."""

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pneumoscope.models import DEFAULT_BUNDLE, load_bundle
from pneumoscope.parallel import fork_map
from pneumoscope.phantom import SAMPLE, PhantomSpec, render, write_dicom
from pneumoscope.pipeline import read_files
from pneumoscope.training.signing import make_key, sign, write_manifest


def make_phantoms(folder: Path) -> dict[tuple[str, bool], Path]:
    """Small chests, sick and well, as the usual scanners and one that was changed show them."""
    usual = PhantomSpec(slices=30, slice_spacing_mm=10.0, slice_thickness_mm=2.0, size_px=192, pixel_spacing_mm=1.9)
    changed = replace(usual, slice_thickness_mm=5.0, noise_hu=45.0)
    made = {}
    for look, spec in (("usual", usual), ("changed", changed)):
        for sick in (True, False):
            made[look, sick] = folder / f"{look}-{'sick' if sick else 'well'}"
            write_dicom(render(replace(spec, lesions=SAMPLE.lesions if sick else ())), made[look, sick])
    return made


def make_models(folder: Path) -> tuple[Path, dict[str, Path]]:
    """A key for this fleet alone, and two models: one as good as the shipped one, one that calls nearly everything sick."""
    folder.mkdir(parents=True)
    secret, public = folder / "maker.pem", folder / "maker.pub"
    make_key(secret, public)
    shipped = load_bundle()
    models = {}
    shipped_as = shipped.calibration
    changes = {"0.9.0": {"slope": shipped_as.slope * 1.02}, "0.9.1": {"intercept": shipped_as.intercept + 50}}
    for version, change in changes.items():
        bundle = folder / f"lung-lesion-{version}"
        shutil.copytree(DEFAULT_BUNDLE, bundle, ignore=shutil.ignore_patterns("__pycache__"))
        calibration = replace(shipped_as, **change)
        write_manifest(bundle, version=version, lesion_threshold=shipped.lesion_threshold, calibration=calibration)
        sign(bundle, secret)
        models[f"lung-lesion {version}"] = bundle
    return public, models


def reading_s(folder: Path) -> float:
    """How long this machine reads a study of the fleet, in seconds; in a child, since what has threads is not forked later."""
    bundle, files = load_bundle(), sorted(folder.iterdir())

    def timed(given: list[Path]) -> float:
        begun_s = time.monotonic()
        read_files(given, bundle, made_at=datetime.now(UTC))
        return time.monotonic() - begun_s

    ((_, took_s),) = fork_map(timed, [files], with_children=True)
    assert isinstance(took_s, float), "the phantom could not be read"
    return took_s
