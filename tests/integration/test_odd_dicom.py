"""Rare and broken files of real scanners: each gives one sentence and a stable code, or the same HU as its plain twin."""

import numpy as np
import pytest

from pneumoscope.decoding import DECODE_FAULTS, decode_hu
from pneumoscope.errors import PneumoscopeError
from pneumoscope.intake import open_input
from pneumoscope.pipeline import load_path
from pneumoscope.records import Instance
from real_data import DATA, needs_real_data

ODD = DATA / "odd_dicom"
SYNTAX = "chest_slice_{}.dcm".format
LOSSLESS = (
    "BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2",
    "DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99",
    "JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90",
    "JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80",
    "JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70",
    "JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57",
    "LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2",
    "RLELosslessTransferSyntax_1.2.840.10008.1.2.5",
)
NEARLY_LOSSLESS = ("JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91", "JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81")
PLAIN = "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1"
LOSSY = (
    "JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55",
    "JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50",
    "JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51",
    "JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53",
)
CODES = {
    **{SYNTAX(name): "too-few-slices" for name in (*LOSSLESS, *NEARLY_LOSSLESS, PLAIN)},
    **{SYNTAX(name): "lossy-jpeg" for name in LOSSY},
    "chest_localizer_jpeg_lossless.dcm": "localizer",
    "ct_no_file_meta.dcm": "nothing-readable",
    "no-pixel-data.dcm": "not-ct",
    "no-pixel-spacing.dcm": "not-ct",
    "tilted_head_1.dcm": "too-few-slices",
    "truncated_jpeg2000_1.dcm": "too-few-slices",
    "truncated_jpeg2000_2.dcm": "too-few-slices",
    "truncated_jpeg2000_3.dcm": "too-few-slices",
}

pytestmark = needs_real_data


def instance(name: str) -> Instance:
    with open_input(ODD / name) as found:
        return found.instances[0]


@pytest.mark.parametrize("name", sorted(CODES))
def test_each_file_alone_is_refused_with_its_code(name: str) -> None:
    with pytest.raises(PneumoscopeError) as caught:
        load_path(ODD / name)
    assert caught.value.code == CODES[name]
    assert name not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_is_left_out_of_the_table() -> None:
    assert {path.name for path in ODD.iterdir()} == set(CODES)


def test_the_whole_folder_is_refused_with_a_reason_per_series() -> None:
    with pytest.raises(PneumoscopeError) as caught:
        load_path(ODD)
    assert len(getattr(caught.value, "reasons", ())) >= 5


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_lossless_syntax_gives_the_same_hu(name: str) -> None:
    plain = decode_hu(instance(SYNTAX(PLAIN)))
    assert (plain.min(), plain.max()) == (-1024, 1378)
    assert np.array_equal(decode_hu(instance(SYNTAX(name))), plain)


@pytest.mark.parametrize("name", NEARLY_LOSSLESS)
def test_nearly_lossless_syntaxes_are_near(name: str) -> None:
    difference = decode_hu(instance(SYNTAX(name))).astype(int) - decode_hu(instance(SYNTAX(PLAIN)))
    assert np.abs(difference).mean() < 10


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_stream_cut_short_cannot_be_decoded(n: int) -> None:
    with pytest.raises(DECODE_FAULTS):
        decode_hu(instance(f"truncated_jpeg2000_{n}.dcm"))


@pytest.mark.parametrize(("study", "slices"), [("covid_p001", 148), ("cap_001", 168), ("normal_001", 154)])
def test_real_studies_load_whole_and_without_a_word(study: str, slices: int) -> None:
    volume, verdicts = load_path(DATA / "volumes" / study)
    assert volume.hu.shape == (slices, 512, 512)
    assert volume.notices == ()
    assert [verdict.code for verdict in verdicts] == ["chosen"]
    assert np.allclose(volume.intervals_mm, 2.0)
    assert volume.hu.min() == -1024
    assert 1000 < volume.hu.max() < 3072
