"""The listener: who calls is admitted or rejected, what is asked is handed to the module that does it."""

import socket
import ssl
import threading
from typing import Any, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer

from pneumoscope.receiver import commitment, notices, queries
from pneumoscope.receiver.admission import Rejection, admit
from pneumoscope.receiver.classes import STORED, SYNTAXES
from pneumoscope.receiver.house import Caller, Entry, House
from pneumoscope.receiver.lane import Lane
from pneumoscope.receiver.metrics import ASSOCIATIONS, REJECTED
from pneumoscope.receiver.storing import Storing
from pneumoscope.receiver.swift import Contexts, SwiftHandler
from pneumoscope.receiver.tls import server_context

ACSE_TIMEOUT_S = 15
log = structlog.get_logger()


class _Server(ThreadedAssociationServer):
    """Shares its port with other receivers; TLS begins in the association's own thread: a silent peer stops no other."""

    request_queue_size = 64
    daemon_threads = True

    def server_bind(self) -> None:
        assert self.socket is not None
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        assert self.socket is not None
        client, address = self.socket.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(ACSE_TIMEOUT_S)
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401 - socketserver's own
        """Connections that never become associations take threads too: no more of them than of those."""
        if len(self.active_associations) < 2 * self.ae.maximum_associations:
            return True
        REJECTED.labels(reason="connections").inc()
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own
        log.info("A connection failed", exc_info=True)


class Listener:
    """The DICOM listener of one receiver process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._open: set[int] = set()
        settings = house.settings.dicom
        ae = AE(settings.ae_title)
        ae.maximum_associations = settings.max_associations
        ae.maximum_pdu_size = settings.max_pdu_bytes
        ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = ACSE_TIMEOUT_S, 60, settings.idle_timeout_s
        for stored in STORED:
            # both roles: who fetches by C-GET is the provider of these
            ae.add_supported_context(stored, list(SYNTAXES), scu_role=True, scp_role=True)
        for model in queries.MODELS:
            ae.add_supported_context(model, list(queries.SYNTAXES))
        for asked in (Verification, ModalityPerformedProcedureStep, InstanceAvailabilityNotification):
            ae.add_supported_context(asked)
        # both roles: others ask us for commitment, and answer what we asked them
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        self._server = self._start(ae, server_context(settings.tls))

    def _start(self, ae: AE, context: ssl.SSLContext | None) -> _Server:
        settings = self._house.settings.dicom
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._limited),
            (evt.EVT_N_ACTION, self._acted),
            (evt.EVT_N_EVENT_REPORT, self._reported),
            (evt.EVT_N_CREATE, lambda event: notices.created(event, self._house)),
            (evt.EVT_N_SET, lambda event: notices.changed(event, self._house)),
            *((ending, self._ended) for ending in (evt.EVT_RELEASED, evt.EVT_ABORTED, evt.EVT_CONN_CLOSE)),
        ]

        class Handler(SwiftHandler):
            storing, most_pdu_bytes = Storing(self._house), settings.max_pdu_bytes
            operate = queries.Queries(self._house).operate

        address, contexts = (settings.host, settings.port), Contexts(ae.supported_contexts)
        server = _Server(ae, address, settings.ae_title, contexts, context, handlers, Handler)
        ae._servers.append(server)  # as the library's own way of starting does
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="listener", daemon=True).start()
        return server

    def _requested(self, event: Event) -> None:
        asked, assoc = cast(A_ASSOCIATE, event.assoc.requestor.primitive), event.assoc
        calling, called, address = asked.calling_ae_title.strip(), asked.called_ae_title.strip(), assoc.requestor.address
        found = admit(self._house.settings.dicom, calling=calling, called=called, address=address)
        if isinstance(found, Rejection):
            self._refuse(found.reason, calling, address, called=called)
            assoc.acse.send_reject(found.result, found.source, found.diagnostic)
            assoc.is_rejected = True
            assoc.kill()
            return
        _lane(event).caller = Caller(sender=found, calling=calling, address=address)

    def _limited(self, event: Event) -> None:
        """The library refuses what is beyond the limit of associations."""
        caller = _lane(event).caller
        if caller:
            self._refuse("limit", caller.calling, caller.address)

    def _refuse(self, reason: str, calling: str, address: str, *, called: str = "") -> None:
        REJECTED.labels(reason=reason).inc()
        log.warning("An association was rejected", reason=reason, calling=calling, called=called, address=address)
        entry = Entry(action="associate", outcome="refused", actor=calling, address=address, detail=reason)
        self._house.entries.append(entry)

    def _accepted(self, event: Event) -> None:
        caller = _caller(event)
        self._open.add(id(caller))
        ASSOCIATIONS.inc()
        self._house.entries.append(Entry(action="associate", actor=caller.calling, address=caller.address))
        sock = event.assoc.dul.socket and event.assoc.dul.socket.socket
        if sock:
            sock.settimeout(self._house.settings.dicom.idle_timeout_s)

    def _acted(self, event: Event) -> tuple[int, Dataset | None]:
        return commitment.asked(event, self._house, _caller(event))

    def _reported(self, event: Event) -> tuple[int, Dataset | None]:
        return commitment.answered(event, self._house)

    def _ended(self, event: Event) -> None:
        """Comes up to twice for one association: at its release or abort, and when the connection closes."""
        caller = _lane(event).caller
        if caller is None or id(caller) not in self._open:
            return
        with caller.lock:
            if caller.over:
                return
            caller.over = True
        self._open.discard(id(caller))
        ASSOCIATIONS.dec()
        if caller.arrival_id:
            self._house.over.put(caller.arrival_id)
            log.info("An association ended", arrival_id=caller.arrival_id, images=caller.images)

    def stop_accepting(self) -> None:
        """Take no further association; those that are open go on. The port is given up, so that callers reach the others."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def open_associations(self) -> int:
        """How many are open."""
        return len(self._open)

    def abort_all(self) -> None:
        """End what is still open."""
        for assoc in self._server.active_associations:
            assoc.abort(block=False)


def _lane(event: Event) -> Lane:
    return cast(Lane, event.assoc.dul)


def _caller(event: Event) -> Caller:
    caller = _lane(event).caller
    assert caller is not None, "only who was let in may ask"
    return caller
