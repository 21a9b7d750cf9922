"""pynetdicom 3.0 as acceptor without its naps: it polls in two threads and sleeps a millisecond in each, for every message.

Over one association most of the time is sleep. Here the thread that reads the network waits in
``select``, takes objects by the fast lane, and serves other requests itself: those with one answer as the library does, queries
and retrievals as ``operation.py`` does. It touches what the library keeps to itself; bench/receiving.py and the tests against
real peers notice a change.
"""

import queue
from collections.abc import Callable
from typing import Any

from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler

from pneumoscope.receiver.lane import Lane, readable
from pneumoscope.receiver.storing import Storing

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
        try:
            return readable(sock, IDLE_S)
        except OSError:
            self.event_queue.put("Evt17")  # transport connection closed (PS3.8 9.2.3)
            return False


class _Served(queue.Queue[Any]):
    """Stands in for the queue of messages between the two threads: what is put is served at once."""

    def __init__(self, assoc: Association, lane: Lane) -> None:
        super().__init__()
        self._assoc, self._lane = assoc, lane

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ANN401
        """Serve a message; what is none (the peer is gone) goes to the other thread."""
        context_id, message = item
        if message is None or not self._assoc.is_established:
            super().put(item, block, timeout)
        elif isinstance(message, (C_FIND, C_GET, C_MOVE)):
            self._lane.ask(context_id, message)
        elif self._lane.operating:
            self._lane.answered(message)
        else:
            self._assoc._serve_request(message, context_id)


class Contexts(list[PresentationContext]):
    """Presentation contexts that associations share: the library copies them deeply for each, and never changes the copy."""

    def __deepcopy__(self, memo: object) -> "Contexts":
        return self


class SwiftHandler(RequestHandler):
    """Makes associations that do not nap. ``storing``: where their objects go; ``operate``: who answers queries."""

    storing: Storing
    operate: Callable[[Lane, int, Any], None]
    most_pdu_bytes: int

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        sock = assoc.dul.socket
        assert sock is not None
        # the socket is made within, and making another would tell the state machine twice
        sock.__class__ = _Socket
        assoc.dul = lane = Lane(assoc, self.storing, self.operate, most_pdu_bytes=self.most_pdu_bytes)
        lane.socket, lane._run_loop_delay = sock, 0
        lane.event_queue.put("Evt5")  # transport connection indication: that of the socket went to the one before
        # setting them sets the timers of the new one
        assoc.acse_timeout, assoc.network_timeout = self.ae.acse_timeout, self.ae.network_timeout
        assoc.dimse.msg_queue = _Served(assoc, lane)
        return assoc
