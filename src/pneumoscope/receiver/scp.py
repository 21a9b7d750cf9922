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

from pneumoscope.receiver import commitment, notices
from pneumoscope.receiver.admission import Rejection, admit
from pneumoscope.receiver.classes import STORED, SYNTAXES
from pneumoscope.receiver.house import Caller, House
from pneumoscope.receiver.metrics import ASSOCIATIONS, REJECTED
from pneumoscope.receiver.storing import Storing
from pneumoscope.receiver.swift import SwiftHandler
from pneumoscope.receiver.tls import server_context
from pneumoscope.store import audit

ACSE_TIMEOUT_S = 15
log = structlog.get_logger()


class _Server(ThreadedAssociationServer):
    """Shares its port with other receivers; TLS begins in the association's own thread: a silent peer stops no other."""

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

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own
        log.info("A connection failed", exc_info=True)


class Listener:
    """The DICOM listener of one receiver process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._storing = Storing(house)
        self._callers: dict[int, Caller] = {}
        settings = house.settings.dicom
        ae = AE(settings.ae_title)
        ae.maximum_associations = settings.max_associations
        ae.maximum_pdu_size = settings.max_pdu_bytes
        ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = ACSE_TIMEOUT_S, 60, settings.idle_timeout_s
        for stored in STORED:
            ae.add_supported_context(stored, list(SYNTAXES))
        for asked in (Verification, ModalityPerformedProcedureStep, InstanceAvailabilityNotification):
            ae.add_supported_context(asked)
        # both roles: others ask us for commitment, and answer what we asked them
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        self._server = self._start(ae, server_context(settings.tls))

    def _start(self, ae: AE, context: ssl.SSLContext | None) -> _Server:
        settings = self._house.settings.dicom
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_N_ACTION, self._acted),
            (evt.EVT_N_EVENT_REPORT, self._reported),
            (evt.EVT_N_CREATE, lambda event: notices.created(event, self._house)),
            (evt.EVT_N_SET, lambda event: notices.changed(event, self._house)),
            *((ending, self._ended) for ending in (evt.EVT_RELEASED, evt.EVT_ABORTED, evt.EVT_CONN_CLOSE)),
        ]
        server = _Server(
            ae, (settings.host, settings.port), settings.ae_title, ae.supported_contexts, context, handlers, SwiftHandler
        )
        ae._servers.append(server)  # as the library's own way of starting does
        server.request_queue_size = 64
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="listener", daemon=True).start()
        return server

    def _requested(self, event: Event) -> None:
        asked, assoc = cast(A_ASSOCIATE, event.assoc.requestor.primitive), event.assoc
        calling, called, address = asked.calling_ae_title.strip(), asked.called_ae_title.strip(), assoc.requestor.address
        found = admit(self._house.settings.dicom, calling=calling, called=called, address=address)
        if isinstance(found, Rejection):
            REJECTED.labels(reason=found.reason).inc()
            log.warning("An association was rejected", reason=found.reason, address=address)
            self._audit("reject", "refused", calling, address, found.reason)
            assoc.acse.send_reject(found.result, found.source, found.diagnostic)
            assoc.is_rejected = True
            assoc.kill()
            return
        self._callers[id(assoc)] = Caller(sender=found, calling=calling, address=address)
        ASSOCIATIONS.inc()

    def _stored(self, event: Event) -> int:
        return self._storing.store(event, self._callers[id(event.assoc)])

    def _acted(self, event: Event) -> tuple[int, Dataset | None]:
        return commitment.asked(event, self._house, self._callers[id(event.assoc)])

    def _reported(self, event: Event) -> tuple[int, Dataset | None]:
        return commitment.answered(event, self._house)

    def _ended(self, event: Event) -> None:
        """Comes up to twice for one association: at its release or abort, and when the connection closes."""
        caller = self._callers.pop(id(event.assoc), None)
        if caller is None:
            return
        ASSOCIATIONS.dec()
        if caller.arrival_id:
            self._house.over.put(caller.arrival_id)
            log.info("An association ended", arrival_id=caller.arrival_id, images=caller.images)

    def _audit(self, action: str, outcome: str, actor: str, address: str, detail: str) -> None:
        with self._house.store.database.begin() as db:
            audit.record(db, action=action, outcome=outcome, actor=actor, address=address, detail=detail)

    def stop_accepting(self) -> None:
        """Take no further association; those that are open go on."""
        self._server.shutdown()

    @property
    def open_associations(self) -> int:
        """How many are open."""
        return len(self._callers)
