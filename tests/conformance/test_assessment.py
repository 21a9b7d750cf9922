"""A person's answer as others read it, and beside the findings that it is of."""

import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import highdicom as hd
import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhirclient.models import bundle as smart
from peers import iod_complaints, reference_uids, run, validator_complaints, write
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from pneumoscope import codes
from pneumoscope.delivery.transaction import to_transaction
from pneumoscope.records import Answer, Assessment, Category, Judgement, Objection, Region
from pneumoscope.results.assessment import assessment_uid, build_assessment, plain_name
from pneumoscope.results.assessment_fhir import build_assessment_bundle
from pneumoscope.results.encode import encode
from pneumoscope.results.fhir import build_bundle
from pneumoscope.results.seg import build_seg
from pneumoscope.results.sr import build_sr
from support import tiny_reading

ANSWERS = {
    "accepted": Answer(judgement=Judgement.ACCEPT),
    "modified": Answer(
        judgement=Judgement.MODIFY,
        objection=Objection.FALSE_LESION,
        text="Atelektase, keine Läsion.",
        category=Category.NO_SIGN,
        added=(Region.LEFT_UPPER,),
        removed=(Region.RIGHT_LOWER, Region.RIGHT_MIDDLE),
    ),
    "rejected": Answer(judgement=Judgement.REJECT, objection=Objection.INADEQUATE_IMAGE, text="움직임"),
}


def assessed(answer: Answer, *, reader: str = "kim", number: int = 1, supersedes: str = "") -> Assessment:
    made_at = datetime(2020, 3, 1, 11, 0, tzinfo=UTC)
    key = f"00000000-0000-4000-8000-{number:012d}"
    return Assessment(id=key, number=number, reader=reader, answer=answer, made_at=made_at, supersedes=supersedes)


@cache
def findings(PatientName: str = "Hong^Gildong=洪^吉洞=홍^길동") -> Dataset:
    """The findings as they come out of the file store."""
    reading = tiny_reading(PatientName=PatientName)
    return dcmread(DicomBytesIO(encode(build_sr(reading, seg=build_seg(reading)))))


def built(answer: Answer, **given: object) -> Dataset:
    return build_assessment(assessed(answer, **given), findings())


def evaluations(ds: Dataset) -> dict[str, dict[str, str]]:
    """By tracking identifier, what is said: code values of names and answers."""
    read = hd.sr.Comprehensive3DSR.from_dataset(dcmread(DicomBytesIO(encode(ds))))
    return {
        group.tracking_identifier: {item.name.value: item.value.value for item in group.get_qualitative_evaluations()}
        for group in read.content.get_image_measurement_groups()
    }


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_judges_find_no_fault(tmp_path: Path, answer: Answer) -> None:
    path = write(built(answer, number=2, supersedes="00000000-0000-4000-8000-000000000001"), tmp_path / "assessment.dcm")
    assert iod_complaints(path) == []
    assert validator_complaints(dcmread(path)) == []
    status, said = run("dsrdump", "+U8", "+Pl", path)
    assert (status, "E: " in said) == (0, False)
    assert codes.JUDGEMENTS[answer.judgement].meaning in said
    assert "kim" in said
    assert answer.text in said


def test_what_is_answered_survives() -> None:
    said = evaluations(built(ANSWERS["modified"]))
    assert said["Assessment"] == {"assessment": "modified", "objection": "false-lesion", "correct-category": "272519000"}
    assert said["Upper third of left lung"] == {"lesion-in-zone": codes.PRESENT.value}
    assert said["Lower third of right lung"] == {"lesion-in-zone": codes.ABSENT.value}
    assert len(said) == 4
    assert evaluations(built(ANSWERS["accepted"])) == {"Assessment": {"assessment": "accepted"}}


def test_it_lies_in_the_patients_study_beside_the_findings_and_refers_to_them(tmp_path: Path) -> None:
    ds = dcmread(write(built(ANSWERS["rejected"]), tmp_path / "assessment.dcm"))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "StudyDate"):
        assert ds[keyword].value == findings()[keyword].value
    assert reference_uids(ds) == {findings().SOPInstanceUID}
    assert ds.SeriesInstanceUID != findings().SeriesInstanceUID
    assert (ds.SeriesNumber, ds.Modality) == (204, "SR")
    assert (ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "FINAL")
    _, said = run("dcentvfy", write(findings(), tmp_path / "findings.dcm"), tmp_path / "assessment.dcm")
    assert said.strip() == ""


def test_answers_share_a_series_and_a_later_one_names_the_one_before_it() -> None:
    first = built(ANSWERS["accepted"], number=1)
    later = built(ANSWERS["rejected"], number=2, supersedes="00000000-0000-4000-8000-000000000001")
    assert first.SeriesInstanceUID == later.SeriesInstanceUID
    assert first.SOPInstanceUID != later.SOPInstanceUID
    (study,) = later.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in first


def test_the_same_answer_gives_the_same_bytes() -> None:
    one, two = (built(ANSWERS["modified"]) for _ in range(2))
    assert encode(one) == encode(two)
    assert one.SOPInstanceUID == assessment_uid(findings(), assessed(ANSWERS["modified"]).id)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_others_models_of_r4_accept_it_and_every_reference_leads_to_an_entry(answer: Answer) -> None:
    parcel = build_assessment_bundle(assessed(answer), build_bundle(tiny_reading()))
    bundle = json.loads(parcel.content)
    get_fhir_model_class("Bundle").model_validate(bundle)
    assert smart.Bundle(bundle, strict=True).as_json() == bundle
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    assert set(re.findall(r'"reference": "([^"]+)"', parcel.content.decode())) <= urls
    observation = bundle["entry"][-1]["resource"]
    assert observation["valueCodeableConcept"]["text"] == codes.JUDGEMENTS[answer.judgement].meaning
    assert len(observation.get("component", [])) == {"accept": 0, "modify": 5, "reject": 1}[answer.judgement]


def test_a_server_that_has_the_reading_gets_only_the_observation() -> None:
    reading = build_bundle(tiny_reading())
    before = {entry["request"]["ifNoneExist"] for entry in to_transaction(reading)["entry"]}
    after = to_transaction(build_assessment_bundle(assessed(ANSWERS["accepted"]), reading))["entry"]
    new = [entry["resource"]["resourceType"] for entry in after if entry["request"]["ifNoneExist"] not in before]
    assert new == ["Observation"]


def test_a_readers_name_cannot_break_a_plain_name() -> None:
    assert plain_name("a^b=c\\d\ne") == "a b c d e"
    assert plain_name("") == "unknown"
    assert len(plain_name("x" * 200)) == 63
