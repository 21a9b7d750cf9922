"""Bodies of STOW-RS responses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumoscope.delivery.stow_answer import StowLists, parse_answer

JSON = b"""{"00081190": {"vr": "UR", "Value": ["http://server/studies/1.2"]},
 "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}},
                                    {"00081155": {"vr": "UI", "Value": ["1.2.4"]}}]},
 "00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.5"]}, "00081197": {"vr": "US", "Value": [49152]}},
                                    {"00081155": {"vr": "UI", "Value": ["1.2.6"]}}]}}"""
XML = b"""<?xml version="1.0"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence">
 <Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute></Item>
 <Item number="2"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.4</Value></DicomAttribute></Item>
</DicomAttribute>
<DicomAttribute tag="00081198" vr="SQ">
 <Item number="1"><DicomAttribute tag="00081197" vr="US"><Value number="1">49152</Value></DicomAttribute></Item>
 <Item number="2"/></DicomAttribute></NativeDicomModel>"""


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (JSON, "application/dicom+json"),
        (b"[" + JSON + b"]", "application/json"),
        (JSON, ""),
        (XML, "application/dicom+xml"),
        (XML.replace(b' xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"', b""), "text/xml"),
    ],
)
def test_both_forms_say_the_same(content: bytes, media_type: str) -> None:
    assert parse_answer(content, media_type) == StowLists(stored=("1.2.3", "1.2.4"), failed=(0xC000, 0x0110))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b"<a/>",
        b"<a>",
        b"[" * 100_000,
        b'{"00081199": {"Value": [7]}}',
        b'{"00081199": []}',
        b"\xff\xfe",
    ],
)
def test_what_names_no_object_is_nothing(content: bytes) -> None:
    assert parse_answer(content, "") is None


def test_entities_are_not_expanded() -> None:
    assert parse_answer(b'<!DOCTYPE a [<!ENTITY b "1.2.3">]>' + XML.replace(b"1.2.3", b"&b;"), "") is None


@given(st.binary(), st.sampled_from(["", "application/dicom+json", "application/dicom+xml"]))
def test_no_answer_breaks_it(content: bytes, media_type: str) -> None:
    parse_answer(content, media_type)
