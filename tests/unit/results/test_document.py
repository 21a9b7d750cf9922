import json
from dataclasses import replace

import pytest

from pneumoscope.records import Category, Region, Study
from pneumoscope.results.document import SCHEMA, build_document, to_dict
from support import tiny_reading


def test_the_file_is_the_dictionary():
    reading = tiny_reading()
    parcel = build_document(reading)
    assert (parcel.name, parcel.media_type) == ("reading.json", "application/json")
    assert json.loads(parcel.content) == to_dict(reading)


def test_keys_come_in_a_stable_order():
    assert list(to_dict(tiny_reading()))[:4] == ["schema", "pneumoscope", "made_at", "model"]
    assert list(to_dict(tiny_reading())) == list(to_dict(tiny_reading(lesions=False)))
    assert to_dict(tiny_reading())["schema"] == SCHEMA == "pneumoscope/reading/1"


def test_text_is_not_escaped():
    content = build_document(tiny_reading(PatientName="Hong^Gildong=洪^吉洞=홍^길동")).content
    assert "洪^吉洞=홍^길동".encode() in content


def test_study_elements_keep_their_keywords():
    assert list(to_dict(tiny_reading())["study"]) == list(Study.__dataclass_fields__)


def test_regions_and_zones():
    findings = {entry["region"]: entry for entry in to_dict(tiny_reading())["findings"]}
    assert list(findings) == [region.value for region in Region]
    assert "severity_points" not in findings["lungs"]
    worst = findings["right_middle_zone"]
    assert worst["lesion_ml"] == pytest.approx(worst["ground_glass_ml"] + worst["consolidation_ml"], abs=0.002)
    assert worst["severity_band"] == "5 to 25 %"


def test_key_slices_name_their_instance():
    reading = tiny_reading()
    entry = to_dict(reading)["key_slices"][0]
    assert entry["SOPInstanceUID"] == reading.volume.instances[entry["index"]].SOPInstanceUID
    assert entry["position_mm"] == reading.volume.positions_mm[entry["index"]]
    assert to_dict(tiny_reading(with_dicom=False))["key_slices"][0]["SOPInstanceUID"] is None


def test_no_score_is_null_with_a_reason():
    reading = tiny_reading()
    scores = replace(reading.scores, probability=None, category=Category.CANNOT_SAY, reason="The lungs are cut off.")
    out = to_dict(replace(reading, scores=scores))
    assert (out["score"], out["category"], out["reason"]) == (None, "cannot say", "The lungs are cut off.")


def test_a_region_without_lung_has_no_density():
    reading = tiny_reading()
    empty = replace(reading.findings[-1], volume_ml=0.0, ground_glass_ml=0.0, consolidation_ml=0.0, mean_hu=0.0)
    out = to_dict(replace(reading, findings=(*reading.findings[:-1], empty)))["findings"][-1]
    assert (out["mean_hu"], out["share"]) == (None, 0.0)


def test_what_is_not_a_number_is_refused():
    reading = tiny_reading()
    with pytest.raises(ValueError, match="JSON"):
        build_document(replace(reading, scores=replace(reading.scores, probability=float("nan"))))
