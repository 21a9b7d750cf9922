"""pynetdicom 3.0 as requestor, mended where it loses answers and leaves sockets open.

Both mends touch what the library keeps to itself; the tests against real peers notice when a new version makes that wrong.
"""

import socket
import ssl
import threading
from contextlib import suppress

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket

#: A thread that has died never comes to the gate; who sends then learns that the association is gone.
PATIENCE_S = 1.0


class Gate(threading.Event):
    """Stands in for the event at which an association's thread pauses while a request of ours is under way.

    The library marks the thread as paused just before it waits there. One that has just been let through bears the mark still,
    and if a request goes out in this moment the thread takes the answer off the queue and drops it; the request then waits for
    its whole timeout. Here ``clear`` returns only when the thread is held.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._open, self._held = True, False

    def is_set(self) -> bool:
        """Whether the thread may pass."""
        return self._open

    def set(self) -> None:
        """Let the thread pass."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Hold the thread, and return when it is held."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: self._held, PATIENCE_S)

    def wait(self, timeout: float | None = None) -> bool:
        """Called by the association's thread."""
        with self._changed:
            self._held = not self._open
            self._changed.notify_all()
            passed = self._changed.wait_for(lambda: self._open, timeout)
            self._held = False
            return passed


class Socket(AssociationSocket):
    """Closes its socket in every case; the library leaves one open that never got connected, or that the peer shut first."""

    def make_closed(self) -> None:
        """Close it, whether the library has or not."""
        self._shutdown_socket()

    def _shutdown_socket(self) -> None:
        sock = self.socket  # another thread may set it to None at any time
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Entity(AE):
    """To be used in place of ``AE`` by whoever requests associations."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        assoc._reactor_checkpoint = Gate()  # its thread does not run yet
        transport = Socket(assoc, address=address)
        transport.tls_args = tls_args
        return transport
