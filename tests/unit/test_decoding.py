"""Pixels of any transfer syntax come out as the same HU."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000Lossless, RLELossless

from dicom_maker import make_series, make_slice, save, slice_pixels
from pneumoscope.decoding import decode_hu
from pneumoscope.errors import UnreadableVolume
from pneumoscope.intake import open_input
from pneumoscope.intake.headers import read_header
from pneumoscope.pipeline import load_path

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


@pytest.mark.parametrize("bits", [0, 1, 12, 24, 64])
def test_pixels_in_no_whole_bytes_are_refused_and_never_guessed(tmp_path: Path, bits: int) -> None:
    make_series(tmp_path, BitsAllocated=bits)
    with pytest.raises(UnreadableVolume) as caught:
        load_path(tmp_path)
    assert caught.value.code == "undecodable-slices"


@pytest.mark.parametrize("bits", [{"BitsStored": 12, "HighBit": 15}, {"BitsStored": 16, "HighBit": 14}], ids=str)
@pytest.mark.parametrize("packed", [True, False])
def test_bits_in_another_place_than_their_number_says_are_refused(tmp_path: Path, bits: dict[str, int], packed: bool) -> None:
    for k in range(24):
        ds = make_slice(k)
        if packed:
            ds.compress(RLELossless, generate_instance_uid=False)
        ds.BitsStored, ds.HighBit = bits["BitsStored"], bits["HighBit"]
        save(ds, tmp_path / f"{k}.dcm")
    with pytest.raises(UnreadableVolume) as caught:
        load_path(tmp_path)
    assert caught.value.code == "undecodable-slices"


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless], ids=lambda uid: uid.keyword)
def test_a_codestream_that_contradicts_its_header_on_the_sign_is_refused(
    tmp_path: Path, syntax: UID, photometric: str, signed: bool
) -> None:
    hu = slice_pixels(60.0)
    ds = make_slice(12, PhotometricInterpretation=photometric, PixelRepresentation=int(signed))
    if not signed:
        ds.PixelData, ds.RescaleIntercept = (hu + 1024).astype("<u2").tobytes(), -1024
    if syntax == JPEG2000Lossless:
        ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    else:
        content = bytearray(HTJ2K_SLICE.read_bytes())
        content[42] = 0x8F if signed else 0x0F  # Ssiz (ISO 15444-1 A.5.1): a sign or none, 16 bits
        ds.PixelData = encapsulate([bytes(content)])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
    (right,) = read_header(save(ds, tmp_path / "right.dcm")).instances
    if signed or syntax == JPEG2000Lossless:  # that fixture's values are signed ones
        assert np.array_equal(decode_hu(right), hu)
    ds.PixelRepresentation = int(not signed)
    (wrong,) = read_header(save(ds, tmp_path / "wrong.dcm")).instances
    with pytest.raises(ValueError, match="contradicts"):
        decode_hu(wrong)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("packed", [True, False])
def test_values_do_not_depend_on_how_they_are_shown(tmp_path: Path, photometric: str, packed: bool) -> None:
    ds = make_slice(12, PhotometricInterpretation=photometric, RescaleIntercept=-10)
    if packed:
        ds.compress(RLELossless, generate_instance_uid=False)
    (instance,) = read_header(save(ds, tmp_path / "x.dcm")).instances
    assert np.array_equal(decode_hu(instance), slice_pixels(60.0) - 10)
