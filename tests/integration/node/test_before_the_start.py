"""What an operator got wrong is said before a node starts, not by its processes, again and again."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from servers import free_port


def serve(folder: Path, settings: str) -> "subprocess.CompletedProcess[str]":
    file = folder / "node.toml"
    file.write_text(f'[node]\nfolder = "{folder / "kept"}"\n{settings}')
    command = [sys.executable, "-m", "pneumoscope.cli", "serve", "--config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_check_before_the_first_start_finds_nothing_wrong(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'[node]\nfolder = "{tmp_path / "kept"}"\n{ports()}')
    command = [sys.executable, "-m", "pneumoscope.cli", "check", "--config", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "COLUMNS": "160"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "It is not made yet; the node makes it when it starts." in done.stdout
    assert "wrong" not in done.stdout
    assert done.stdout.endswith("\n")
    assert not (tmp_path / "kept").exists()


def ports(dicom: int | None = None, http: int | None = None) -> str:
    return f"[http]\nport = {http or free_port()}\n[dicom]\nhost = '127.0.0.1'\nport = {dicom or free_port()}\n"


@pytest.mark.parametrize("which", ["dicom", "http"])
def test_a_port_that_another_node_has(tmp_path: Path, which: str) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as receivers do: ours could listen beside it
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = serve(tmp_path, ports(**{which: port}))
    assert done.returncode == 4
    assert f"{which}.port {port} cannot be listened on: another program has it" in done.stderr
    assert "port-taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    done = serve(tmp_path, f"[http]\nhost = '192.0.2.1'\nport = {free_port()}\n[dicom]\nport = {free_port()}\n")
    assert done.returncode == 4
    assert "192.0.2.1 is no address of this machine" in done.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://db/x", "[node] database_url: it must be of the form"),
        ("postgresql+psycopg://node@127.0.0.1:PORT/x", "Connection refused"),
    ],
)
def test_a_database_that_is_not_there(tmp_path: Path, url: str, said: str) -> None:
    url = url.replace("PORT", str(free_port()))
    done = serve(tmp_path, f"database_url = '{url}'\n{ports()}")
    assert done.returncode == 4
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    done = serve(tmp_path, ports())
    assert done.returncode == 4
    assert f"The folder cannot be made or written: {tmp_path / 'kept'}: " in done.stderr


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("server.pem", "none.key", "none.key cannot be read: No such file or directory"),
        ("server.pem", "client.key", "client.key is not the key of "),
        ("server.key", "server.key", "cannot be used; PEM files without a password are needed"),
    ],
)
@pytest.mark.parametrize("table", ["dicom.tls", "http"])
def test_certificates_that_cannot_be_used(
    tmp_path: Path, certificates: Path, table: str, certificate: str, key: str, said: str
) -> None:
    given = f"certificate = '{certificates / certificate}'\nkey = '{certificates / key}'\n"
    http = f"[http]\nport = {free_port()}\n" + (given if table == "http" else "")
    dicom = f"[dicom]\nhost = '127.0.0.1'\nport = {free_port()}\n" + (f"[dicom.tls]\n{given}" if table != "http" else "")
    done = serve(tmp_path, http + dicom)
    assert done.returncode == 4
    assert said in done.stderr
    assert "Traceback" not in done.stderr
