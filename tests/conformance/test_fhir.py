"""The FHIR bundle, judged by two others' models of R4."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhirclient.models import bundle as smart
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pneumoscope.records import Category, Predecessor, Reading
from pneumoscope.results.fhir import build_bundle
from support import tiny_reading


def resources(reading: Reading) -> list[dict]:
    return [entry["resource"] for entry in json.loads(build_bundle(reading).content)["entry"]]


def observation(reading: Reading, code: str, site: str = "") -> dict:
    (found,) = (
        resource
        for resource in resources(reading)
        if resource["resourceType"] == "Observation"
        and resource["code"]["coding"][0]["code"] == code
        and (not site or resource["bodySite"]["coding"][0]["code"] == site)
    )
    return found


def component(resource: dict, code: str) -> dict:
    (found,) = (c for c in resource["component"] if c["code"]["coding"][0]["code"] == code)
    return found["valueQuantity"]


def cannot_say() -> Reading:
    reading = tiny_reading()
    scores = replace(reading.scores, probability=None, category=Category.CANNOT_SAY, reason="The lungs are cut off.")
    return replace(reading, scores=scores)


def lungless() -> Reading:
    reading = tiny_reading()
    empty = (replace(f, volume_ml=0.0, ground_glass_ml=0.0, consolidation_ml=0.0, mean_hu=0.0) for f in reading.findings)
    return replace(reading, findings=tuple(empty), key_slices=())


def bare() -> Reading:
    """Nothing known of the patient."""
    reading = tiny_reading(with_dicom=False)
    study = type(reading.study)(StudyInstanceUID="2.25.1")
    return replace(reading, volume=replace(reading.volume, study=study), verdicts=())


def later(earlier: Reading) -> Reading:
    """Of the same study, an hour after."""
    replaces = Predecessor(
        made_at=earlier.made_at, device_uid=earlier.model.device_uid, SeriesInstanceUID="2.25.101", SOPInstanceUID="2.25.102"
    )
    return replace(earlier, made_at=earlier.made_at + timedelta(hours=1), replaces=replaces)


def multiframe() -> Reading:
    """All slices are frames of one file."""
    reading = tiny_reading()
    frames = tuple(
        replace(instance, SOPInstanceUID="1.2.3", frame_index=k) for k, instance in enumerate(reading.volume.instances)
    )
    return replace(reading, volume=replace(reading.volume, instances=frames))


READINGS = {
    "sign": tiny_reading,
    "no sign": lambda: tiny_reading(lesions=False),
    "cannot say": cannot_say,
    "no lung": lungless,
    "bare": bare,
    "multi-frame": multiframe,
    "later version": lambda: later(tiny_reading()),
    "three writings": lambda: tiny_reading(PatientName="Hong^Gildong=洪^吉洞=홍^길동"),
}


@pytest.mark.parametrize("make", READINGS.values(), ids=READINGS.keys())
def test_others_models_of_r4_accept_it(make):
    bundle = json.loads(build_bundle(make()).content)
    get_fhir_model_class("Bundle").model_validate(bundle)
    assert smart.Bundle(bundle, strict=True).as_json() == bundle


@pytest.mark.parametrize("make", READINGS.values(), ids=READINGS.keys())
def test_every_reference_leads_to_an_entry(make):
    content = build_bundle(make()).content.decode()
    urls = re.findall(r'"fullUrl": "([^"]+)"', content)
    assert len(set(urls)) == len(urls)
    assert set(re.findall(r'"reference": "([^"]+)"', content)) <= set(urls)


def test_the_same_reading_gives_the_same_bytes():
    assert build_bundle(tiny_reading()).content == build_bundle(tiny_reading()).content


def test_a_later_report_names_the_one_that_it_replaces():
    (earlier,) = (r for r in resources(tiny_reading()) if r["resourceType"] == "DiagnosticReport")
    (report,) = (r for r in resources(later(tiny_reading())) if r["resourceType"] == "DiagnosticReport")
    (extension,) = report["extension"]
    assert extension["url"].endswith("/diagnosticReport-replaces")
    assert extension["valueReference"] == {"type": "DiagnosticReport", "identifier": earlier["identifier"][0]}
    assert report["identifier"] != earlier["identifier"]
    assert report["status"] == "preliminary"  # neither was ever final, so nothing is corrected


def test_score_category_and_severity():
    assert observation(tiny_reading(), "covid-score")["valueQuantity"]["value"] == 0.83
    assert observation(tiny_reading(), "covid-category")["valueCodeableConcept"]["coding"][0]["display"] == "Present"
    assert observation(tiny_reading(), "severity-score")["valueInteger"] == 3


def test_no_score_is_absent_with_its_reason():
    score = observation(cannot_say(), "covid-score")
    assert "valueQuantity" not in score
    assert score["dataAbsentReason"]["text"] == "The lungs are cut off."
    assert observation(cannot_say(), "covid-category")["note"] == [{"text": "The lungs are cut off."}]


def test_measures_of_a_region_have_site_and_unit():
    reading = tiny_reading()
    finding = reading.findings[4]
    middle = observation(reading, "lesion-share", "right-mid-zone")
    assert middle["valueQuantity"] == {
        "value": round(finding.share * 100, 3),
        "unit": "%",
        "system": "http://unitsofmeasure.org",
        "code": "%",
    }
    assert component(middle, "lesion-volume")["value"] == round(finding.lesion_ml, 2)
    assert component(middle, "lesion-volume")["code"] == "ml"


def test_a_region_without_lung_has_no_share():
    assert "valueQuantity" not in observation(lungless(), "lesion-share", "right-mid-zone")
    assert observation(lungless(), "lesion-share", "right-mid-zone")["dataAbsentReason"]["text"] == "No lung was found here."


def test_nothing_says_that_the_patient_has_covid():
    content = build_bundle(tiny_reading()).content.decode()
    assert "882784691000119100" not in content
    assert "840539006" not in content
    assert content.count('"status": "preliminary"') == 1 + sum(
        r["resourceType"] == "Observation" for r in resources(tiny_reading())
    )


def test_names_say_how_they_are_written():
    names = resources(tiny_reading(PatientName="Hong^Gildong=洪^吉洞=홍^길동"))[0]["name"]
    assert [name["extension"][0]["valueCode"] for name in names] == ["ABC", "IDE", "SYL"]
    assert [name["family"] for name in names] == ["Hong", "洪", "홍"]
    (only,) = resources(tiny_reading(PatientName="=王^小东"))[0]["name"]
    assert only["extension"][0]["valueCode"] == "IDE"


def test_blanks_and_control_characters_in_text():
    (name, _) = resources(tiny_reading(PatientName="Yamada\x1b^Tarou\x85=山田　^太郎"))[0]["name"]
    assert (name["family"], name["given"], name["text"]) == ("Yamada", ["Tarou"], "Tarou Yamada")
    (_, written) = resources(tiny_reading(PatientName="A^B=山田　次^太郎"))[0]["name"]
    assert written["family"] == "山田 次"


def test_frames_of_one_file_are_one_instance():
    (study,) = (r for r in resources(multiframe()) if r["resourceType"] == "ImagingStudy")
    assert study["series"][0]["numberOfInstances"] == 1
    assert len(study["series"][0]["instance"]) == 1


READING = tiny_reading(slices=9, size=32)


def leaves(element: object) -> Iterator[object]:
    """Every value of a JSON document that holds no others."""
    if isinstance(element, dict | list):
        for inner in element.values() if isinstance(element, dict) else element:
            yield from leaves(inner)
    else:
        yield element


@example(text='"', date="")
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=20), date=st.sampled_from(["", "20200230", "2020", "20200301 ", "00000000"]) | st.text(max_size=8))
def test_whatever_the_source_says_the_bundle_is_valid(text, date):
    study = replace(
        READING.study,
        PatientName=f"{text}^{text}=^{text}",
        PatientID=text,
        PatientBirthDate=date,
        StudyDate=date,
        AccessionNumber=text,
        StudyDescription=text,
        PatientSex=text,
    )
    bundle = json.loads(build_bundle(replace(READING, volume=replace(READING.volume, study=study))).content)
    get_fhir_model_class("Bundle").model_validate(bundle)
    smart.Bundle(bundle, strict=True)
    assert "" not in set(leaves(bundle))
