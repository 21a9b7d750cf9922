"""The HL7 message, read back by hl7apy."""

import json
import re
from dataclasses import replace

import pytest
from hl7apy.core import Message
from hl7apy.parser import parse_message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pneumoscope.delivery.oru import ESCAPES, Header, build_message, control_id, escape
from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Category, Parcel, Reading, Study
from pneumoscope.results.document import build_document
from support import tiny_reading

HEADER = Header(
    sending_application="PNEUMOSCOPE",
    sending_facility="",
    receiving_application="RIS",
    receiving_facility="HOSPITAL",
    assigning_authority="HOSP",
)
READING = tiny_reading(slices=12, size=32)


def message(reading: Reading = READING, reading_id: str = "r", *, valid: bool = True) -> Message:
    content = build_message(build_document(reading), reading_id=reading_id, header=HEADER)
    assert not valid or parse_message(content.decode()).validate()
    return parse_message(content.decode(), find_groups=False)


def with_study(**elements: str) -> Reading:
    study = replace(READING.study, **elements)
    return replace(READING, volume=replace(READING.volume, study=study))


def unescape(text: str) -> str:
    plain = {escaped: c for c, escaped in ESCAPES.items()}
    return re.sub(r"\\[EFSTR]\\", lambda found: plain[found.group()], text)


@given(st.text())
@example("\\E\\F|^&~\r\n\x0b\x1c")
def test_escaped_text_holds_no_delimiter_and_comes_back(text: str) -> None:
    escaped = escape(text)
    assert not set("|^&~\r\n\x0b\x1c") & set(escaped)
    assert unescape(escaped) == " ".join("".join(c if c.isprintable() else " " for c in text).split())


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text(st.characters(codec="utf-8"), max_size=20))
@example("O'Neill & Söhne|^x~", "a\\b|c")
def test_no_patient_breaks_the_message(name: str, number: str) -> None:
    content = build_message(
        build_document(with_study(PatientName=name, PatientID=number, AccessionNumber=number)), reading_id="r", header=HEADER
    )
    segments = content.decode().split("\r")
    assert [segment[:3] for segment in segments[:5]] == ["MSH", "PID", "OBR", "NTE", "OBX"]
    assert segments[1].split("|")[3].split("^")[0] == escape(number)


def test_name_components_change_their_order() -> None:
    (name,) = message(with_study(PatientName="Doe^Jane^Q^Dr^PhD")).pid.pid_5
    assert name.value == "Doe^Jane^Q^PhD^Dr^^L^A"


def test_nothing_known_of_the_patient() -> None:
    study = Study(StudyInstanceUID="2.25.1")
    # PID-3 and PID-5 are required by HL7; nothing is made up, and the receiver says whether it takes that
    bare = message(replace(READING, volume=replace(READING.volume, study=study)), reading_id="the-reading", valid=False)
    assert (bare.pid.pid_3.value, bare.pid.pid_5.value, bare.pid.pid_7.value, bare.pid.pid_8.value) == ("", "", "", "U")
    assert bare.obr.obr_3.value == "the-reading^PNEUMOSCOPE"
    assert bare.obr.obr_7.value == ""


def test_no_score_is_absent_not_zero() -> None:
    scores = replace(READING.scores, probability=None, category=Category.CANNOT_SAY, reason="The lungs are cut off.")
    rows = {obx.obx_3.obx_3_1.value: obx for obx in message(replace(READING, scores=scores)).obx}
    assert (rows["covid-score"].obx_5.value, rows["covid-score"].obx_11.value) == ("", "X")
    assert rows["covid-category"].obx_5.value.startswith("373068000^Undetermined^SCT")
    assert rows["reason"].obx_5.value == "The lungs are cut off."


def test_a_region_without_lung_has_no_share() -> None:
    findings = tuple(replace(f, volume_ml=0.0, ground_glass_ml=0.0, consolidation_ml=0.0) for f in READING.findings)
    shares = [
        obx for obx in message(replace(READING, findings=findings, key_slices=())).obx if "lesion-share" in obx.obx_3.value
    ]
    assert [(obx.obx_5.value, obx.obx_11.value) for obx in shares] == [("", "X")] * 9


@pytest.mark.parametrize(
    ("time", "stamp"), [("101530.123", "101530"), ("1015", "1015"), ("10:15:30", "101530"), ("", ""), ("99", "")]
)
def test_study_times(time: str, stamp: str) -> None:
    assert message(with_study(StudyTime=time)).obr.obr_7.value == f"20200301{stamp}"


def test_control_id_is_short_and_the_readings_own() -> None:
    assert control_id("a") == control_id("a") != control_id("b")
    assert len(control_id("a")) == 20
    assert message(reading_id="a").msh.msh_10.value == control_id("a")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", json.dumps({"study": 7}).encode()])
def test_what_is_no_reading(content: bytes) -> None:
    with pytest.raises(OperatorNeeded) as fault:
        build_message(Parcel(name="reading.json", media_type="", content=content), reading_id="r", header=HEADER)
    assert fault.value.code == "result-damaged"
