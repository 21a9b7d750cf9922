"""Pixels of any transfer syntax come out as the same HU."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL

from dicom_maker import make_slice, save, slice_pixels
from pneumoscope.decoding import decode_hu
from pneumoscope.intake import open_input

#: ``slice_pixels(60.0)`` as signed 16 bit, by OpenJPH (imagecodecs.htj2k_encode), since no runtime library writes it.
HTJ2K_SLICE = Path(__file__).parents[1] / "fixtures" / "slice_60mm.htj2k"


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K], ids=lambda uid: uid.keyword)
def test_high_throughput_jpeg_2000_is_decoded(tmp_path: Path, syntax: UID) -> None:
    ds = make_slice(12, PixelData=encapsulate([HTJ2K_SLICE.read_bytes()]), RescaleIntercept=-10)
    ds.file_meta.TransferSyntaxUID = syntax
    ds["PixelData"].is_undefined_length = True
    save(ds, tmp_path / "slice.dcm")
    with open_input(tmp_path) as found:
        assert np.array_equal(decode_hu(found.instances[0]), slice_pixels(60.0) - 10)
