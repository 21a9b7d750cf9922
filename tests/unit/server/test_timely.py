"""Connections on which nobody asks for anything do not stay."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pneumoscope.server import timely

GET = b"GET / HTTP/1.1\r\nHost: here\r\n"
GO_ON = threading.Event()


def answer(request: Request) -> PlainTextResponse:
    if request.query_params.get("wait"):
        GO_ON.wait(20)
    return PlainTextResponse("answered")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(timely, "HEADERS_S", 0.5)
    config = uvicorn.Config(Starlette(routes=[Route("/", answer)]), http=timely.Timely, log_config=None, timeout_keep_alive=1)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with socket.create_connection(listener.getsockname(), timeout=20) as made:
        yield made
    server.should_exit = True
    thread.join()


def answered(connection: socket.socket) -> bool:
    content = b""
    while not content.endswith(b"answered"):
        part = connection.recv(1000)
        if not part:
            return False
        content += part
    return True


def is_hung_up(connection: socket.socket, drip: bytes) -> bool:
    """Whether we are hung up on while we send this byte by byte, and never its end."""
    connection.settimeout(0.1)
    for number in range(200):
        try:
            if connection.recv(100) == b"":
                return True
        except TimeoutError:
            try:
                connection.send(drip[number : number + 1])
            except OSError:
                return True
        except ConnectionError:
            return True
    return False


def test_who_says_nothing_is_hung_up_on(connection: socket.socket) -> None:
    assert is_hung_up(connection, b"")


def test_who_drips_is_hung_up_on(connection: socket.socket) -> None:
    assert is_hung_up(connection, GET + b"X: " + b"x" * 200)


def test_who_drips_after_an_answer_is_hung_up_on(connection: socket.socket) -> None:
    connection.sendall(GET + b"\r\n")
    assert answered(connection)
    assert is_hung_up(connection, GET + b"X: " + b"x" * 200)


def test_an_answer_may_take_long_and_another_request_may_follow(connection: socket.socket) -> None:
    GO_ON.clear()
    connection.sendall(GET.replace(b"/ ", b"/?wait=1 ") + b"\r\n")
    connection.settimeout(2)
    with pytest.raises(TimeoutError):
        connection.recv(1000)
    GO_ON.set()
    connection.settimeout(20)
    assert answered(connection)
    connection.sendall(GET + b"\r\n")
    assert answered(connection)
