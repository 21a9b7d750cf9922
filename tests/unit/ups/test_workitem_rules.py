"""What work items must hold, when they match, and what events say."""

from datetime import UTC, datetime

import pytest

from pneumoscope.dicomjson import Json, element, parse, tag, text, values
from pneumoscope.ups import events, ours
from pneumoscope.ups.matching import matches
from pneumoscope.ups.requirements import created, faults_at_creation, faults_of_update, missing_at_end
from pneumoscope.ups.states import State
from workitem_maker import OTHER, STUDY, done, wish

CANCELED = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_new_work_item_gets_what_may_be_empty() -> None:
    assert faults_at_creation(wish()) == []
    content = created(wish(WorklistLabel=None, PatientName=None), "1.2.3", label="Default")
    assert text(content, "WorklistLabel") == "Default"
    assert content[tag("PatientName")] == {"vr": "PN"}
    assert text(content, "SOPInstanceUID") == "1.2.3"
    assert tag("ProcedureStepState") not in content  # stands beside


def test_neither_key_nor_command_elements_are_kept() -> None:
    given = wish() | element("TransactionUID") | element("AffectedSOPInstanceUID", "1.2.3")
    assert {tag("TransactionUID"), tag("AffectedSOPInstanceUID")} & set(created(given, "1.2.3", label="")) == set()


@pytest.mark.parametrize("keyword", ["PatientID", "ProcedureStepState", "SOPInstanceUID"])
def test_what_an_update_may_not_change(keyword: str) -> None:
    assert faults_of_update(element(keyword, "X")) == [f"{keyword} cannot be changed by an update."]
    assert faults_of_update(element("ProcedureStepLabel")) == ["ProcedureStepLabel cannot be emptied."]
    assert faults_of_update(element("InputReadinessState", "READY")) == []


def test_what_must_be_there_at_the_end() -> None:
    content = created(wish(), "1.2.3", label="") | element("ScheduledProcedureStepModificationDateTime", "20261101")
    assert missing_at_end(content, State.COMPLETED) == ["UnifiedProcedureStepPerformedProcedureSequence"]
    assert missing_at_end(content | done(), State.COMPLETED) == []
    sequence = "UnifiedProcedureStepPerformedProcedureSequence"
    for keyword in ("PerformedStationNameCodeSequence", "OutputInformationSequence", "PerformedProcedureStepEndDateTime"):
        part = {key: value for key, value in values(done(), sequence)[0].items() if key != tag(keyword)}
        assert missing_at_end(content | element(sequence, part), State.COMPLETED) == [keyword]
    assert missing_at_end(content | ours.progress(1, "Begun"), State.CANCELED) == [
        "ProcedureStepCancellationDateTime",
        "ProcedureStepDiscontinuationReasonCodeSequence",
    ]
    assert missing_at_end(content | ours.cancellation(CANCELED, "No need"), State.CANCELED) == []


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"PatientID": "P-1"}, True),
        ({"PatientID": "p-1"}, False),
        ({"PatientID": ""}, True),
        ({"PatientID": "P-*"}, True),
        ({"PatientID": "*-?"}, True),
        ({"PatientID": "P*P-1"}, False),
        ({"PatientName": "yamada^*"}, True),
        ({"InputInformationSequence.StudyInstanceUID": f"1.2\\{STUDY}"}, True),
        ({"InputInformationSequence.StudyInstanceUID": "1.2,1.3"}, False),
        ({"ScheduledWorkitemCodeSequence.CodeValue": "covid-ct-reading", "PatientID": "P-1"}, True),
        ({"ScheduledWorkitemCodeSequence.CodeValue": "covid-ct-reading", "PatientID": "P-2"}, False),
        ({"ScheduledProcedureStepStartDateTime": "20261101"}, True),
        ({"ScheduledProcedureStepStartDateTime": "20261031-20261101"}, True),
        ({"ScheduledProcedureStepStartDateTime": "20261102-"}, False),
        ({"ScheduledProcedureStepStartDateTime": "-20261031"}, False),
        ({"AdmissionID": "1"}, False),
        ({"PatientID.PatientID": "P-1"}, False),
    ],
)
def test_matching(keys: dict[str, str], found: bool) -> None:
    assert matches(wish(), keys) is found


@pytest.mark.parametrize(
    ("value", "wanted", "found"),
    [("abcabc", "a*bc*c", True), ("abc", "ab*bc", False), ("abc", "***", True), ("aXbXc", "*X?X*", True), ("a", "?*?", False)],
)
def test_wildcards_share_no_letter(value: str, wanted: str, found: bool) -> None:
    assert matches(element("PatientID", value), {"PatientID": wanted}) is found


def test_many_wildcards_cost_no_more_than_few() -> None:
    assert not matches(element("PatientID", "a" * 2000), {"PatientID": "*a" * 400 + "*b"})


def test_which_work_items_are_ours() -> None:
    assert ours.is_for_us(wish(), "ME")
    assert not ours.is_for_us(wish(code=OTHER), "ME")
    assert not ours.is_for_us(wish(InputReadinessState="INCOMPLETE"), "ME")
    station = ours.coded(ours.station("OTHER"))
    assert not ours.is_for_us(wish(ScheduledStationNameCodeSequence=station), "ME")
    assert ours.is_for_us(wish(ScheduledStationNameCodeSequence=[station, ours.coded(ours.station("ME"))]), "ME")
    two = ours.references([ours.Reference("1.2", "1.2.1", "1.3", "1.4"), ours.Reference("1.5", "1.5.1", "1.3", "1.6")])
    assert ours.input_study(wish()) == STUDY
    assert ours.input_study(wish(InputInformationSequence=two)) == ""


def kinds(before: Json, after: Json) -> list[int]:
    return [values(event, "EventTypeID")[0] for event in events.of_change(before, after)]


def test_events_tell_what_differs() -> None:
    new = created(wish(), "1.2.3", label="") | element("ProcedureStepState", "SCHEDULED")
    station = element("ScheduledStationNameCodeSequence", ours.coded(ours.station("ME")))
    assert kinds({}, new) == [1]
    assert kinds({}, new | station) == [1, 5]
    assert kinds(new, new | element("InputReadinessState", "INCOMPLETE")) == [1]
    assert kinds(new, new | element("WorklistLabel", "Other")) == []
    assert kinds(new, new | ours.progress(50, "Half")) == [3]
    over = new | ours.progress(100, "Done") | element("ProcedureStepState", "COMPLETED")
    assert kinds(new, over) == [3, 1]  # the end last
    canceled = new | ours.cancellation(CANCELED, "No need") | element("ProcedureStepState", "CANCELED")
    (event,) = events.of_change(new, canceled)
    assert (text(event, "ReasonForCancellation"), tag("PatientName") in event) == ("No need", False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"00100020": {"vr": "LO", "BulkDataURI": "http://elsewhere"}}',
        b'{"00100020": {"vr": "LO", "Value": "P-1"}}',
        b'{"00100020": {"vr": "LO", "Value": ["a\\u0000b"]}}',
        b'{"00100020": {"vr": "LO", "Value": ["\\ud800"]}}',
        b'{"00100020": {"vr": "LO", "Value": [1]}}',
        b'{"PatientID": {"vr": "LO"}}',
        b'{"00741004": {"vr": "DS", "Value": [true]}}',
        b'{"00741004": {"vr": "DS", "Value": [1e999]}}',
        b'{"00741004": {"vr": "DS", "Value": [1' + b"0" * 400 + b"]}}",
        b'{"00404021": {"vr": "SQ", "Value": ["x"]}}',
        b'{"7FE00010": {"vr": "OW", "Value": ["AA=="]}}',
        b'{"00404021": {"vr": "SQ", "Value": [' * 12 + b"{}" + b"]}}" * 12,
    ],
)
def test_datasets_that_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"tag|Attribute|attribute|JSON"):
        parse(body)


def test_a_dataset_is_kept_as_it_is() -> None:
    body = b'[{"0040a370":{"vr":"SQ","Value":[{"00080050":{"vr":"SH","Value":["A1",null]}}]},"00100010":{"vr":"PN"}}]'
    assert parse(body) == {
        "00100010": {"vr": "PN"},
        "0040A370": {"vr": "SQ", "Value": [{"00080050": {"vr": "SH", "Value": ["A1", None]}}]},
    }
