"""Volumes against phantoms whose truth is known, from thin slices to thick ones."""

from dataclasses import replace

import numpy as np
import pytest

from phantom_volume import volume_of
from pneumoscope.models import load_bundle
from pneumoscope.phantom import Lesion, LesionKind, PhantomSpec, render, true_volumes_ml
from pneumoscope.pipeline import read_volume
from pneumoscope.records import Region

GLASS, SOLID = LesionKind.GROUND_GLASS, LesionKind.CONSOLIDATION
LESIONS = (
    Lesion(kind=GLASS, centre_mm=(-85.0, 50.0, 110.0), volume_ml=20.0, seed=1),
    Lesion(kind=GLASS, centre_mm=(80.0, 40.0, 170.0), volume_ml=5.0, seed=2),
    Lesion(kind=SOLID, centre_mm=(80.0, 50.0, 90.0), volume_ml=10.0, seed=3),
    Lesion(kind=SOLID, centre_mm=(-80.0, 40.0, 190.0), volume_ml=5.0, seed=4),
)
