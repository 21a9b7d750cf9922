"""A PACS that the node asks and fetches from: Orthanc."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_path import confirmed, read

from servers import Node, Orthanc, renamed

Site = Callable[..., tuple[Node, Orthanc]]


def to_pacs(pacs: Orthanc, folder: Path) -> None:
    command = ["storescu", "-aec", "ORTHANC", "+sd", "127.0.0.1", str(pacs.dicom_port), str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TCP_NODELAY": "1"})


@pytest.mark.soak
def test_a_study_waits_for_the_images_that_the_pacs_has_of_it(site: Site, study: Path, study_uid: str, tmp_path: Path) -> None:
    running, pacs = site(
        '\n[arrival]\nask = "main"\nquiet_s = 3\n[[pacs]]\nname = "main"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
        "port = {pacs_port}\n"
    )
    to_pacs(pacs, study)
    files = sorted(study.iterdir())
    for name, part in (("early", files[:30]), ("late", files[30:])):
        (tmp_path / name).mkdir()
        for file in part:
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    running.send(tmp_path / "early")
    with pytest.raises(pytest.fail.Exception):
        read(running, study_uid, seconds=6)  # twice the quiet period
    running.send(tmp_path / "late")
    assert read(running, study_uid)["version"] == 1


@pytest.mark.soak
@pytest.mark.parametrize("way", ["move", "web"])
def test_old_studies_are_brought_from_the_pacs_with_the_least_urgency(
    site: Site, study: Path, tmp_path: Path, way: str
) -> None:
    reach = (
        'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {pacs_port}\n' if way == "move" else 'url = "{pacs_url}/dicom-web"\n'
    )
    running, pacs = site(f'\n[[pacs]]\nname = "main"\n{reach}')
    uid = renamed(study, tmp_path / "old")
    to_pacs(pacs, tmp_path / "old")
    verb = [sys.executable, "-m", "pneumoscope.cli", "backfill", "--pacs", "main", "--since", "20200101", "--until", "20201231"]
    done = subprocess.run([*verb, "--config", str(running.config)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 studies were asked for." in done.stdout
    found = read(running, uid)
    assert (found["state"], found["priority"]) == ("read", 4)
    confirmed(running, uid)
    again = subprocess.run([*verb, "--config", str(running.config)], capture_output=True, text=True, check=True, timeout=120)
    assert "0 studies were asked for." in again.stdout  # what is here is not fetched twice
