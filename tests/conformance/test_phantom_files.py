"""The phantom's files are what a scanner would send."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from peers import iod_complaints

from pneumoscope.phantom import Order, PhantomSpec, render, write_dicom

SPEC = PhantomSpec(slices=12, slice_spacing_mm=10.0, slice_thickness_mm=1.0, size_px=192, pixel_spacing_mm=2.0)


@pytest.mark.parametrize("order", Order)
def test_files_are_valid_ct_in_any_order(tmp_path: Path, order: Order) -> None:
    made = render(SPEC)
    assert write_dicom(made, tmp_path, order=order, PatientName="洪^吉洞") == 12
    datasets = [pydicom.dcmread(path) for path in sorted(tmp_path.iterdir())]
    by_height = sorted(datasets, key=lambda ds: ds.ImagePositionPatient[2])
    assert np.array_equal(np.stack([ds.pixel_array.astype(int) - 1024 for ds in by_height]), made.hu)
    assert {str(ds.PatientName) for ds in datasets} == {"洪^吉洞"}
    assert iod_complaints(next(tmp_path.iterdir())) == []
