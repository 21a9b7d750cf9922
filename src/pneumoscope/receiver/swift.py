"""pynetdicom 3.0 as acceptor without its naps: it polls in two threads and sleeps a millisecond in each, for every message.

On 400 slices over one association two thirds of the time were sleep. Here the thread that reads the network waits in ``select``,
reads a PDU in one piece, and serves the request itself. That holds for services that answer with one message, which all of ours
are. It touches what the library keeps to itself; bench/receiving.py and the tests against real peers notice a change.
"""

import queue
import select
import ssl
from typing import Any

from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler

#: Longest wait of an idle association for its own other thread, which asks for release or abort.
IDLE_S = 0.02
#: Its own log handlers put every element of every message into words, whether or not anyone reads them.
_config.LOG_HANDLER_LEVEL = "none"


class _Socket(AssociationSocket):
    @property
    def ready(self) -> bool:
        """Whether there is something to read, now or within ``IDLE_S``."""
        sock = self.socket
        if sock is None or not self._is_connected:
            return False
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        try:
            return bool(select.select([sock], [], [], IDLE_S)[0])
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed (PS3.8 9.2.3)
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """``nr_bytes``, or fewer where the connection ends."""
        assert self.socket is not None
        content = bytearray(nr_bytes)
        view, read = memoryview(content), 0
        while read < nr_bytes:
            count = self.socket.recv_into(view[read:])
            if not count:
                break
            read += count
        view.release()
        del content[read:]
        return content


class _Served(queue.Queue[Any]):
    """Stands in for the queue of messages between the two threads: what is put is served at once."""

    def __init__(self, assoc: Association) -> None:
        super().__init__()
        self._assoc = assoc

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ANN401
        """Serve a message; what is none (the peer is gone) goes to the other thread."""
        context_id, message = item
        if message is None or not self._assoc.is_established:
            super().put(item, block, timeout)
        else:
            self._assoc._serve_request(message, context_id)


class SwiftHandler(RequestHandler):
    """Makes associations that do not nap."""

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        # the socket is made within, and making another would tell the state machine twice
        assoc.dul.socket.__class__ = _Socket
        assoc.dul._run_loop_delay = 0
        assoc.dimse.msg_queue = _Served(assoc)
        return assoc
