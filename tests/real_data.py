"""Where real CT lies on machines that have it."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("PNEUMOSCOPE_DATA", Path(__file__).parents[2] / "shared" / "data"))

needs_real_data = pytest.mark.skipif(
    not (DATA / "volumes").is_dir(), reason="no real CT: neither PNEUMOSCOPE_DATA nor ../shared/data holds it"
)
