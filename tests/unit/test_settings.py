"""What an operator is told of wrong settings: where, what was found, what is allowed, and no secret."""

from pathlib import Path

import pytest

from pneumoscope.config import load_settings
from pneumoscope.errors import OperatorNeeded


def told(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OperatorNeeded) as caught:
        load_settings(path)
    assert caught.value.code in ("settings-wrong", "settings-unreadable")
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def test_settings_one_line_for_each_fault(file: Path) -> None:
    text = told(
        file,
        """
        colour = "blue"
        destination = 1
        [dicom]
        ae_titel = "CT"
        port = 99999
        [[dicom.senders]]
        addresses = ["10.1.2.0/24"]
        [[dicom.senders]]
        adresses = ["10.1.2.0/24"]
        [dicom.tls]
        certificate = "node.pem"
        [[destinations]]
        kind = "dicom"
        name = "pacs"
        ae_title = "A_TITLE_THAT_IS_TOO_LONG"
        host = "pacs"
        [[destinations]]
        kind = "pacs"
        name = "other"
        [[destinations]]
        name = "third"
        [people]
        ways = "ldap"
        [http]
        trust_this_machine = "maybe"
        [disk]
        keep_days = "long"
        """,
    )
    assert text.splitlines()[0] == "The settings cannot be used:"
    assert {line.strip() for line in text.splitlines()[1:]} == {
        "colour: no such setting; there are node, dicom, arrival, pacs, destinations, http, people, together, disk, bucket, "
        "watched, fleet, hub, logs, tracing",
        "destination: no such setting; did you mean destinations?",
        "[dicom] ae_titel: no such setting; did you mean ae_title?",
        "[dicom] port: 99999 is not allowed; it must be at most 65535",
        "[[dicom.senders]] no. 2, adresses: no such setting; did you mean addresses?",
        "[dicom.tls]: certificate and key belong together",
        '[[destinations]] no. 1, ae_title: "A_TITLE_THAT_IS_TOO_LONG" is not allowed; it must have at most 16 characters',
        "[[destinations]] no. 1, port: it must be given",
        '[[destinations]] no. 2: kind "pacs" is not allowed; kind must be one of "dicom", "stow", "fhir", "hl7", "folder"',
        '[[destinations]] no. 3: kind must be one of "dicom", "stow", "fhir", "hl7", "folder"',
        """[people] ways: "ldap" is not allowed; it must be 'local', 'openid', 'both' or 'none'""",
        '[http] trust_this_machine: "maybe" is not allowed; it must be true or false',
        '[disk] keep_days: "long" is not allowed; it must be a number',
    }


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('[destinations]\nkind = "dicom"', "[destinations]: it must be a list of tables, each under [[destinations]]"),
        ("[[logs]]", "[logs]: it must be one table, under [logs]"),
        (
            '[[dicom.senders]]\naddresses = ["10.1.2.3/24"]',
            '[[dicom.senders]] no. 1, addresses no. 1: "10.1.2.3/24" is an address within a network: '
            "write 10.1.2.0/24 for all of it, or 10.1.2.3",
        ),
        (
            '[http]\nproxies = ["proxy.hospital"]',
            '[http] proxies no. 1: "proxy.hospital" is neither an address nor a network, such as 10.1.2.3 or 10.1.2.0/24',
        ),
        (
            '[http]\nhost = "ct.hospital"',
            '[http] host: "ct.hospital" is no address of this machine, such as 127.0.0.1, or 0.0.0.0 for all',
        ),
        (
            '[[dicom.senders]]\nae_title = "A_TITLE_TOO_LONG_TO_SEND"',
            '[[dicom.senders]] no. 1, ae_title: "A_TITLE_TOO_LONG_TO_SEND" is not allowed; it must have at most 16 characters',
        ),
        ("[dicom]\nport = 8042", "dicom.port and http.port are both 8042"),
        ('[arrival]\nask = "main"', "arrival.ask names main, which is not under pacs"),
    ],
)
def test_settings_fault_by_fault(file: Path, content: str, sentence: str) -> None:
    assert told(file, content) == f"The settings cannot be used:\n  {sentence}"


@pytest.mark.parametrize(
    "content",
    [
        '[http]\ntokens = "hunter2"',
        '[[http.programs]]\nname = "x"\ntoken = "hunter2"\nroles = ["monitor"]',
        '[http]\npassword = "hunter2"',
        '[bucket]\nurl = "s3://me:hunter2@ct"',
        '[bucket]\nkey_id = "me"\nsecret = ["hunter2"]',
        '[tracing.headers]\nAuthorization = ["hunter2"]',
        '[[pacs]]\nname = "main"\ntoken = ["hunter2"]',
    ],
)
def test_settings_faults_tell_no_secret(file: Path, content: str) -> None:
    assert "hunter2" not in told(file, content)


def test_settings_files_that_cannot_be_read(tmp_path: Path, file: Path) -> None:
    assert "is no TOML: Expected ']'" in told(file, "[dicom")
    file.write_bytes("[http]\nhost = 'ü'".encode("latin-1"))
    with pytest.raises(OperatorNeeded, match=r"node\.toml must be text in UTF-8"):
        load_settings(file)
    with pytest.raises(OperatorNeeded, match=r"none\.toml: No such file or directory"):
        load_settings(tmp_path / "none.toml")


def test_settings_by_an_editor_that_marks_utf8(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf[dicom]\nport = 104")
    assert load_settings(file).dicom.port == 104
