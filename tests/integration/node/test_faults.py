"""Whatever dies, whenever: every study is read, and every result is in the PACS exactly once."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dbos import DBOSClient
from test_path import confirmed, deliveries, expected, read

from servers import Node, Orthanc, listening, renamed, wait_for

Site = Callable[..., tuple[Node, Orthanc]]


def state(running: Node) -> str:
    studies = running.studies()
    return studies[0]["state"] if studies else ""


def all_is_well(running: Node, pacs: Orthanc, uid: str) -> None:
    found = read(running, uid)
    assert found["state"] == "read", found
    confirmed(running, uid)
    assert len(running.study(uid)["readings"]) == 1
    assert pacs.objects(uid) == expected(running, uid) != []


def test_a_worker_that_dies_in_mid_read_is_noticed_and_its_study_taken_over(site: Site, study: Path, study_uid: str) -> None:
    running, pacs = site("", workers=2)
    running.send(study)
    wait_for(lambda: state(running) == "reading", what="the reading")
    victim = running.worker_at_work()
    running.kill_pid(victim)
    # within seconds, as tests/unit/worker/test_watch.py counts them
    wait_for(lambda: running.worker_at_work() not in (None, victim), what="another worker")
    all_is_well(running, pacs, study_uid)


@pytest.mark.soak
def test_a_reader_that_dies_costs_nothing_but_time(site: Site, study: Path, study_uid: str) -> None:
    running, pacs = site()
    running.send(study)
    wait_for(lambda: state(running) == "reading", what="the reading")
    running.kill("reader")
    all_is_well(running, pacs, study_uid)


@pytest.mark.soak
def test_a_receiver_that_dies_in_mid_association_loses_nothing_that_it_acknowledged(
    site: Site, study: Path, study_uid: str
) -> None:
    running, pacs = site()
    sender = running.begin_to_send(study)
    wait_for(lambda: running.spooled() > 10, what="some images")
    running.kill("receiver")
    sender.wait()
    # the last thread of a killed process lets go of its port a moment later than its death shows
    wait_for(lambda: not listening(running.dicom_port), what="the port to be let go", every_s=0.01)
    wait_for(lambda: listening(running.dicom_port), what="the receiver")
    running.send(study)  # as a scanner does: again from the start
    all_is_well(running, pacs, study_uid)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, 1])
def test_a_power_cut_at_any_moment(site: Site, study: Path, study_uid: str, seed: int) -> None:
    running, pacs = site()
    running.send(study)
    time.sleep(random.Random(seed).uniform(0.0, 6.0))
    running.kill_all()
    running.start()
    all_is_well(running, pacs, study_uid)


@pytest.mark.soak
def test_a_database_server_that_dies_at_any_moment(site: Site, study: Path, study_uid: str) -> None:
    running, pacs = site(on_postgres=True)
    running.send(study)
    time.sleep(random.Random(0).uniform(0.2, 5.0))
    site.postgres.kill()
    time.sleep(1)
    site.postgres.start()
    all_is_well(running, pacs, study_uid)


@pytest.mark.soak
def test_a_reading_whose_workflow_was_stopped_or_removed_by_hand_is_carried_out_all_the_same(
    site: Site, study: Path, tmp_path: Path
) -> None:
    running, pacs = site()
    uids = [renamed(study, tmp_path / name) for name in ("stopped", "removed")]
    client = DBOSClient(system_database_url=f"sqlite:///{running.folder / 'kept' / 'workflows.sqlite'}")
    for uid, end in zip(uids, (client.cancel_workflow, client.delete_workflow), strict=True):
        running.send(tmp_path / ("stopped" if uid == uids[0] else "removed"))
        (workflow,) = wait_for(lambda: client.list_workflows(status="PENDING"), seconds=180, what="the reading")
        end(workflow.workflow_id)
        all_is_well(running, pacs, uid)
    client.destroy()


@pytest.mark.soak
def test_a_destination_that_hangs_holds_up_no_other(site: Site, study: Path, study_uid: str, tmp_path: Path) -> None:
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(5)  # takes connections and never answers
        hanging = (
            '\n[[destinations]]\nkind = "dicom"\nname = "deaf"\nae_title = "DEAF"\nhost = "127.0.0.1"\n'
            f"port = {deaf.getsockname()[1]}\ntimeout_s = 5\n"
        )
        running, pacs = site(hanging)
        running.send(study)
        read(running, study_uid)
        wait_for(lambda: pacs.objects(study_uid) == expected(running, study_uid) != [], what="the results in the PACS")
        stuck = wait_for(lambda: [d for d in deliveries(running, study_uid) if d["destination"] == "deaf" and d["code"]])
        assert stuck[0]["code"] in ("peer-silent", "peer-unreachable")
