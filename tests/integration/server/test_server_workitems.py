"""UPS-RS against a real server: acts by httpx, events by a real websocket client."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from pydicom.uid import generate_uid
from server_node import Node, start, stop
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from pneumoscope.dicomjson import Json, element, tag, text, values
from pneumoscope.store.subscriptions import EVERYTHING, FILTERED
from pneumoscope.ups import ours
from servers import wait_for
from workitem_maker import OTHER, done, wish

HEADERS = {"Content-Type": "application/dicom+json"}
STATE, CANCEL, PROGRESS, MANAGER, ASSIGNED = 1, 2, 3, 4, 5


class Worklist:
    """A client of the worklist."""

    def __init__(self, node: Node) -> None:
        self.root = f"{node.root}/workitems"
        self.http = httpx.Client(timeout=30)

    def create(self, **options: object) -> str:
        uid = generate_uid(prefix=None)
        answer = self.post(f"?workitem={uid}", wish(code=OTHER, **options))
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"{self.root}/{uid}"
        return uid

    def post(self, path: str, dataset: Json | None = None) -> httpx.Response:
        content = json.dumps([dataset]) if dataset is not None else ""
        return self.http.post(f"{self.root}{path}", content=content, headers=HEADERS)

    def get(self, uid: str) -> Json:
        answer = self.http.get(f"{self.root}/{uid}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/dicom+json"
        return answer.json()[0]

    def state(self, uid: str, state: str, key: str = "") -> httpx.Response:
        dataset = element("ProcedureStepState", state) | (element("TransactionUID", key) if key else {})
        return self.http.put(f"{self.root}/{uid}/state", content=json.dumps(dataset), headers=HEADERS)

    def claim(self, uid: str) -> str:
        key = generate_uid(prefix=None)
        assert self.state(uid, "IN PROGRESS", key).status_code == 200
        return key

    def find(self, **keys: str) -> list[str]:
        answer = self.http.get(self.root, params=keys)
        if answer.status_code == 204:
            return []
        assert answer.status_code == 200, answer.text
        return [text(item, "SOPInstanceUID") for item in answer.json()]


@pytest.fixture
def worklist(node: Node) -> Iterator[Worklist]:
    client = Worklist(node)
    yield client
    client.http.close()


@contextmanager
def listening(node: Node, ae_title: str) -> Iterator[Callable[[], Json]]:
    """The next event of a subscriber."""
    url = f"{node.root}/subscribers/{ae_title}".replace("http", "ws", 1)
    with connect(url) as channel:
        yield lambda: json.loads(channel.recv(timeout=20))


def kind(event: Json) -> tuple[int, str]:
    return values(event, "EventTypeID")[0], text(event, "ProcedureStepState")


def test_a_performer_elsewhere_claims_and_completes_a_work_item(node: Node, worklist: Worklist) -> None:
    uid = worklist.create()
    found = worklist.get(uid)
    assert (text(found, "ProcedureStepState"), text(found, "SOPInstanceUID")) == ("SCHEDULED", uid)
    assert worklist.post(f"/{uid}", element("WorklistLabel", "Another")).status_code == 200
    key = worklist.claim(uid)
    assert tag("TransactionUID") not in worklist.get(uid)
    assert worklist.state(uid, "COMPLETED", key).status_code == 409  # it has not said what it did
    assert worklist.post(f"/{uid}?transaction-uid={key}", done()).status_code == 200
    assert worklist.state(uid, "COMPLETED", key).status_code == 200
    found = worklist.get(uid)
    assert (text(found, "ProcedureStepState"), text(found, "WorklistLabel")) == ("COMPLETED", "Another")
    again = worklist.state(uid, "COMPLETED", key)
    assert (again.status_code, again.headers["warning"]) == (
        200,
        '299 pneumoscope "The UPS is already in the requested state of COMPLETED."',
    )
    actions = [row["action"] for row in node.audit() if row["action"].endswith("work item")]
    assert {"create work item", "update work item"} <= set(actions)


def test_without_the_key_nothing_of_a_claimed_work_item_changes(worklist: Worklist) -> None:
    uid = worklist.create()
    key = worklist.claim(uid)
    for answer, warning in (
        (worklist.post(f"/{uid}", done()), "The Transaction UID is missing."),
        (worklist.post(f"/{uid}?transaction-uid=1.2", done()), "The Transaction UID is incorrect."),
        (worklist.state(uid, "COMPLETED", "1.2"), "The Transaction UID is incorrect."),
        (worklist.state(uid, "CANCELED"), "The Transaction UID is missing."),
        (worklist.state(uid, "IN PROGRESS", "1.2"), "The Transaction UID is incorrect."),
    ):
        assert (answer.status_code, answer.headers["warning"]) == (400, f'299 pneumoscope "{warning}"')
    assert worklist.state(uid, "IN PROGRESS", key).status_code == 409
    assert worklist.get(uid)[tag("UnifiedProcedureStepPerformedProcedureSequence")] == {"vr": "SQ"}


def test_of_many_that_claim_at_once_one_wins(worklist: Worklist) -> None:
    uid = worklist.create()
    keys = [generate_uid(prefix=None) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda key: worklist.state(uid, "IN PROGRESS", key).status_code, keys))
    assert sorted(codes) == [200] + [400] * 11
    winner = keys[codes.index(200)]
    assert worklist.post(f"/{uid}?transaction-uid={winner}", ours.progress(1, "Begun")).status_code == 200


@pytest.mark.parametrize(
    ("dataset", "fault"),
    [
        (wish(ProcedureStepLabel=None), "ProcedureStepLabel needs a value."),
        (wish(ProcedureStepState="IN PROGRESS"), "ProcedureStepState is SCHEDULED"),
        (wish(TransactionUID="1.2"), "TransactionUID is empty"),
        (wish(InputReadinessState="MAYBE"), "InputReadinessState is one of"),
        ({"00741000": {"vr": "LO", "Value": ["SCHEDULED"]}}, "needs a vr of CS"),
        ({"00080018": {"vr": "UI", "Value": ["Yamada"]}}, "none that its vr UI allows"),
    ],
)
def test_a_malformed_work_item_is_refused_without_repeating_it(worklist: Worklist, dataset: Json, fault: str) -> None:
    answer = worklist.post("", dataset)
    assert answer.status_code == 400
    assert fault in answer.json()["message"]
    assert "Yamada" not in answer.text


def test_what_is_no_dicom_json_and_what_exists_already_are_refused(worklist: Worklist) -> None:
    uid = worklist.create()
    twice = worklist.post(f"?{uid}", wish())  # the UID as PS3.18 writes it
    assert (twice.status_code, twice.headers["warning"]) == (409, '299 pneumoscope "The Workitem already exists."')
    xml = worklist.http.post(worklist.root, content=b"<x/>", headers={"Content-Type": "application/dicom+xml"})
    assert (xml.status_code, "XML" in xml.text) == (415, True)
    for body in (b"{", b"[]", b"[" * 100_000, b'{"00741000": {"vr": "CS", "Value": [NaN]}}', b"[1]"):
        assert worklist.http.post(worklist.root, content=body, headers=HEADERS).status_code == 400
    assert worklist.http.get(f"{worklist.root}/{uid}", headers={"Accept": "application/dicom+xml"}).status_code == 406
    assert worklist.http.get(f"{worklist.root}/1.2.3").status_code == 404
    for uid in (EVERYTHING, "1..2", "1." + "2" * 64):
        assert worklist.post(f"?workitem={uid}", wish()).status_code == 400
    assert worklist.state("1.2.3", "IN PROGRESS", "1.2").status_code == 404


def test_search_matches_nested_attributes_and_pages(worklist: Worklist) -> None:
    label = generate_uid(prefix=None)[-16:]
    uids = [worklist.create(WorklistLabel=label) for _ in range(3)]
    worklist.claim(uids[1])
    assert worklist.find(WorklistLabel=label) == uids
    assert worklist.find(WorklistLabel=label, ProcedureStepState="SCHEDULED") == [uids[0], uids[2]]
    assert worklist.find(WorklistLabel=label, limit="1", offset="1") == [uids[1]]
    nested = {"00404018.00080100": OTHER.value, "WorklistLabel": f"{label[:8]}*"}
    assert worklist.find(**nested) == uids
    assert worklist.find(**(nested | {"00404018.00080100": "other"})) == []
    assert (
        worklist.find(WorklistLabel=label, PatientName="yamada*", ScheduledProcedureStepStartDateTime="20261101-20261102")
        == uids
    )
    assert worklist.find(WorklistLabel=label, TransactionUID="*1*") == []


def test_a_subscriber_is_told_what_becomes_of_a_work_item(node: Node, worklist: Worklist) -> None:
    uid = worklist.create(ScheduledStationNameCodeSequence=ours.coded(ours.station("ONE")))
    answer = worklist.post(f"/{uid}/subscribers/WATCHER?deletionlock=true")
    assert (answer.status_code, answer.headers["warning"]) == (201, '299 pneumoscope "Deletion Lock not granted."')
    assert answer.headers["content-location"] == f"{node.root}/subscribers/WATCHER".replace("http", "ws", 1)
    with listening(node, "WATCHER") as hear:
        first = hear()
        assert kind(first) == (STATE, "SCHEDULED")
        assert text(first, "AffectedSOPInstanceUID") == uid
        assert text(first, "AffectedSOPClassUID") == "1.2.840.10008.5.1.4.34.6.1"
        assert worklist.post(f"/{uid}", element("ScheduledStationNameCodeSequence", ours.coded(ours.station("TWO")))).is_success
        assigned = hear()
        assert (kind(assigned)[0], "TWO" in json.dumps(assigned)) == (ASSIGNED, True)
        key = worklist.claim(uid)
        assert kind(hear()) == (STATE, "IN PROGRESS")
        worklist.post(f"/{uid}?transaction-uid={key}", ours.progress(30, "Nearly"))
        assert kind(hear())[0] == PROGRESS
        asked = worklist.post(f"/{uid}/cancelrequest", element("ReasonForCancellation", "No need"))
        assert asked.status_code == 202
        request = hear()
        assert (kind(request)[0], text(request, "ReasonForCancellation")) == (CANCEL, "No need")
        assert text(worklist.get(uid), "ProcedureStepState") == "IN PROGRESS"  # it is for the performer to decide
    # what happens while nobody listens waits
    worklist.post(f"/{uid}?transaction-uid={key}", done())
    assert worklist.state(uid, "COMPLETED", key).status_code == 200
    with listening(node, "WATCHER") as hear:
        assert kind(hear()) == (STATE, "COMPLETED")
    assert worklist.post(f"/{uid}/cancelrequest").headers["warning"] == '299 pneumoscope "The UPS is already COMPLETED."'
    assert worklist.http.delete(f"{worklist.root}/{uid}/subscribers/WATCHER").status_code == 200
    assert worklist.http.delete(f"{worklist.root}/{uid}/subscribers/WATCHER").status_code == 404


def test_nobody_can_be_asked_to_cancel_what_its_performer_does_not_watch(worklist: Worklist) -> None:
    uid = worklist.create()
    worklist.claim(uid)
    answer = worklist.post(f"/{uid}/cancelrequest")
    assert (answer.status_code, answer.headers["warning"]) == (409, '299 pneumoscope "The performer cannot be contacted."')


def test_what_nobody_has_claimed_is_canceled_at_once(node: Node, worklist: Worklist) -> None:
    uid = worklist.create()
    worklist.post(f"/{uid}/subscribers/CANCELER")
    assert worklist.post(f"/{uid}/cancelrequest", element("ReasonForCancellation", "No need")).status_code == 202
    with listening(node, "CANCELER") as hear:
        kinds = [kind(hear()) for _ in range(4)]
        assert kinds == [(STATE, "SCHEDULED"), (CANCEL, ""), (STATE, "IN PROGRESS"), (STATE, "CANCELED")]
    assert "No need" in json.dumps(worklist.get(uid))
    again = worklist.post(f"/{uid}/cancelrequest")
    assert (again.status_code, "already in the requested state" in again.headers["warning"]) == (202, True)


def test_global_filtered_and_suspended_subscriptions(node: Node, worklist: Worklist) -> None:
    label = generate_uid(prefix=None)[-16:]
    assert worklist.post(f"/{FILTERED}/subscribers/SOME?WorklistLabel={label}").status_code == 201
    assert worklist.post(f"/{FILTERED}/subscribers/SOME?Nonsense=1").status_code == 400
    assert worklist.post(f"/{EVERYTHING}/subscribers/ALL").status_code == 201
    other, mine = worklist.create(), worklist.create(WorklistLabel=label)
    with listening(node, "SOME") as hear:
        assert text(hear(), "AffectedSOPInstanceUID") == mine
    with listening(node, "ALL") as hear:
        assert [text(hear(), "AffectedSOPInstanceUID") for _ in range(2)] == [other, mine]
    assert worklist.post(f"/{EVERYTHING}/subscribers/ALL/suspend").status_code == 200
    worklist.create()
    worklist.claim(other)
    with listening(node, "ALL") as hear:
        assert (kind(event := hear()), text(event, "AffectedSOPInstanceUID")) == ((STATE, "IN PROGRESS"), other)
    assert worklist.http.delete(f"{worklist.root}/{EVERYTHING}/subscribers/ALL").status_code == 200
    assert worklist.http.delete(f"{worklist.root}/{EVERYTHING}/subscribers/SOME").status_code == 200
    worklist.claim(mine)
    assert worklist.post(f"/{EVERYTHING}/subscribers/ALL/suspend").status_code == 404


def test_another_site_cannot_open_a_channel(node: Node) -> None:
    url = f"{node.root}/subscribers/EVIL".replace("http", "ws", 1)
    with pytest.raises(InvalidStatus), connect(url, origin="https://elsewhere.example"):
        pass


def test_subscriptions_outlive_the_server(node: Node, worklist: Worklist) -> None:
    """A second server over the same store stands for the first one started again."""
    uid = worklist.create()
    worklist.post(f"/{uid}/subscribers/PATIENT")
    process, url, _ = start(node.settings.node.folder)
    address = f"{url}/dicom-web/subscribers/PATIENT".replace("http", "ws", 1)
    try:
        with connect(address) as channel:
            events = [json.loads(channel.recv(timeout=20)) for _ in range(2)]
            assert [kind(event) for event in events] == [(STATE, "SCHEDULED"), (MANAGER, "")]
            assert text(events[1], "SubscriptionListStatus") == "WARM START"
            worklist.claim(uid)
            assert kind(json.loads(channel.recv(timeout=20))) == (STATE, "IN PROGRESS")
            assert stop(process) == 0
            with pytest.raises(ConnectionClosed):  # it was told that the server goes
                channel.recv(timeout=20)
    finally:
        process.kill()


def test_one_event_is_sent_once(node: Node, worklist: Worklist) -> None:
    uid = worklist.create()
    worklist.post(f"/{uid}/subscribers/ONCE")
    with listening(node, "ONCE") as hear:
        hear()
        wait_for(lambda: heard(node, "ONCE"), what="the event to be noted as sent")
    with listening(node, "ONCE") as hear:
        worklist.claim(uid)
        assert kind(hear()) == (STATE, "IN PROGRESS")


def heard(node: Node, ae_title: str) -> int:
    from pneumoscope.store import subscriptions

    with node.store.database.look() as db:
        return subscriptions.heard(db, ae_title)
