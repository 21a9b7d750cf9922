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
from starlette.types import Receive, Scope, Send

from pneumoscope.server import timely
from pneumoscope.server.outer import Outer

GET = b"GET / HTTP/1.1\r\nHost: here\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: here\r\nContent-Length: 300\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
GO_ON = threading.Event()


def answer(request: Request) -> PlainTextResponse:
    if request.query_params.get("wait"):
        GO_ON.wait(20)
    return PlainTextResponse("answered")


async def form(request: Request) -> PlainTextResponse:
    return PlainTextResponse("answered" if len(await request.form()) == 1 else "")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Routes, and before them one that reads the body as who lets people in does."""
    if scope["path"] == "/before":
        while (await receive())["more_body"]:
            pass
    await Starlette(routes=[Route("/", answer), Route("/form", form, methods=["POST"])])(scope, receive, send)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(timely, "HEADERS_S", 0.5)
    monkeypatch.setattr(timely, "BODY_S", 0.5)
    config = uvicorn.Config(Outer(app), lifespan="off", http=timely.Timely, log_config=None, timeout_keep_alive=1)
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


def said_while_dripping(connection: socket.socket, drip: bytes) -> bytes:
    """The start of the answer that comes while we send this byte by byte; nothing where all was sent before it came."""
    connection.settimeout(0.1)
    for number in range(len(drip)):
        try:
            return connection.recv(100)
        except TimeoutError:
            connection.send(drip[number : number + 1])
    return b""


@pytest.mark.parametrize("where", [b"form", b"before"])
def test_a_body_that_drips_is_answered_408_and_hung_up_on(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch, where: bytes
) -> None:
    connection.sendall(POST % where)
    assert said_while_dripping(connection, b"a=" + b"x" * 200).startswith(b"HTTP/1.1 408 ")
    assert is_hung_up(connection, b"x" * 90)


def test_a_body_that_comes_slowly_and_fast_enough_is_taken(connection: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timely, "LEAST_BYTES_PER_S", 0.01)
    connection.sendall(POST % b"form" + b"a=")
    assert said_while_dripping(connection, b"x" * 15) == b""  # for longer than a body of nothing may take
    connection.sendall(b"x" * 283)
    connection.settimeout(20)
    assert answered(connection)
