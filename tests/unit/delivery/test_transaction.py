"""The FHIR transaction, judged by another's models."""

import json
from urllib.parse import parse_qs

import pytest
from fhir.resources.R4B.bundle import Bundle

from pneumoscope.delivery.transaction import to_transaction
from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Parcel
from pneumoscope.results.fhir import build_bundle
from support import tiny_reading

PARCEL = build_bundle(tiny_reading(slices=12, size=32))


def patient_query(parcel: Parcel = PARCEL, **options: str) -> str:
    entries = to_transaction(parcel, **options)["entry"]
    request = next(entry["request"] for entry in entries if entry["request"]["url"] == "Patient")
    return parse_qs(request["ifNoneExist"], strict_parsing=True)["identifier"][0]


def test_every_entry_is_a_conditional_create_of_its_own_identifier() -> None:
    bundle = to_transaction(PARCEL)
    Bundle.model_validate_json(json.dumps(bundle))
    assert bundle["type"] == "transaction"
    queries = [(entry["request"]["url"], entry["request"]["ifNoneExist"]) for entry in bundle["entry"]]
    assert len(set(queries)) == len(queries)
    for entry in bundle["entry"]:
        assert entry["request"]["method"] == "POST"
        assert "id" not in entry["resource"]
        system, value = parse_qs(entry["request"]["ifNoneExist"])["identifier"][0].split("|")
        assert {"system": system, "value": value} in entry["resource"]["identifier"]


def test_the_same_reading_gives_the_same_transaction() -> None:
    assert to_transaction(PARCEL) == to_transaction(PARCEL)


def test_patients_are_found_by_number_only_within_a_system() -> None:
    assert patient_query().startswith("urn:ietf:rfc:3986|urn:uuid:")
    assert patient_query(patient_system="urn:oid:1.2.3") == "urn:oid:1.2.3|PHANTOM-1"


def test_odd_numbers_are_escaped() -> None:
    odd = Parcel(name="fhir.json", media_type="", content=PARCEL.content.replace(b"PHANTOM-1", b"a&b|c,d$ e"))
    assert patient_query(odd, patient_system="s") == "s|a&b\\|c\\,d\\$ e"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"entry": [{}]}', b'{"entry": [7]}'])
def test_what_is_no_bundle(content: bytes) -> None:
    with pytest.raises(OperatorNeeded) as fault:
        to_transaction(Parcel(name="fhir.json", media_type="", content=content))
    assert fault.value.code == "result-damaged"
