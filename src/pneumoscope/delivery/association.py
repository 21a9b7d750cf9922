"""A DICOM association as requestor, with an end in time and a reason where it fails."""

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext

from pneumoscope.delivery.connection import Tls, diagnose, too_slow, unreachable
from pneumoscope.delivery.deadline import Deadline
from pneumoscope.delivery.mended import Entity, Socket
from pneumoscope.errors import OperatorNeeded, RetryLater

MAX_PDU_BYTES = 131_072
TRANSIENT = 2  # result of an A-ASSOCIATE-RJ (PS3.8 table 9-21)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A DICOM application entity, and how long it may take."""

    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    tls: Tls | None  # None: plain
    timeout_s: float  # for each answer
    deadline_s: float  # for the whole association


@contextmanager
def associate(
    peer: Peer, contexts: Sequence[PresentationContext], handlers: Sequence[evt.EventHandlerType] = ()
) -> Iterator[Association]:
    """An established association, released at the end. Raises RetryLater or OperatorNeeded where there is none."""
    tls = peer.tls.context() if peer.tls else None
    with Deadline(peer.deadline_s) as deadline:
        began = time.monotonic()
        rejections: list[A_ASSOCIATE_RJ] = []
        ours: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, _tune, [deadline, peer.timeout_s]),
            (evt.EVT_PDU_RECV, _note_rejection, [rejections]),
        ]
        assoc = _request(peer, contexts, [*ours, *handlers], tls)
        try:
            if not assoc.is_established:
                if rejections:
                    raise _rejection(rejections[0], peer)
                raise too_slow() if deadline.expired else _why_not(assoc, peer, tls, began)
            yield assoc
        except (RetryLater, RuntimeError) as fault:  # a RuntimeError is the library's, where the association is gone
            if deadline.expired:
                raise too_slow() from fault
            if isinstance(fault, RetryLater):
                raise
            raise RetryLater("The peer broke off.", code="peer-aborted") from fault
        finally:
            _end(assoc)


def _request(
    peer: Peer, contexts: Sequence[PresentationContext], handlers: list[evt.EventHandlerType], tls: ssl.SSLContext | None
) -> Association:
    entity = Entity(ae_title=peer.calling_ae_title)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout_s
    try:
        return entity.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=MAX_PDU_BYTES,
            tls_args=(tls, peer.host) if tls else None,
            evt_handlers=handlers,
        )
    except OSError as fault:  # the host name; all else shows in the association
        raise unreachable(fault) from fault


def _tune(event: evt.Event, deadline: Deadline, timeout_s: float) -> None:
    transport = event.assoc.dul.socket
    sock = transport.socket if transport else None
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each object waits for a delayed ACK
        sock.settimeout(timeout_s)  # else a peer that stops to read blocks us
        deadline.guard(sock)


def _why_not(assoc: Association, peer: Peer, tls: ssl.SSLContext | None, began: float) -> RetryLater | OperatorNeeded:
    """The library keeps no reason why a connection failed, so that it is tried once more."""
    if assoc.rejected_contexts:
        return OperatorNeeded("The peer accepts none of the kinds of object that we send.", code="peer-not-accepting")
    if fault := diagnose(peer.host, peer.port, context=tls, timeout_s=peer.timeout_s):
        return fault
    if time.monotonic() - began >= peer.timeout_s:
        return RetryLater("The peer did not answer the request for an association in time.", code="peer-silent")
    if tls:
        return RetryLater("The peer broke off before it accepted the association.", code="peer-aborted")
    return RetryLater("The peer broke off before it accepted the association; it may speak TLS alone.", code="peer-aborted")


def _note_rejection(event: evt.Event, rejections: list[A_ASSOCIATE_RJ]) -> None:
    """The library takes one that comes at once for a connection that failed."""
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        rejections.append(event.pdu)


def _rejection(pdu: A_ASSOCIATE_RJ, peer: Peer) -> RetryLater | OperatorNeeded:
    source, reason = pdu.source or 0, pdu.reason_diagnostic or 0
    if pdu.result == TRANSIENT or source == 3:  # presentation layer: congestion or its local limit
        message = f"The peer is busy and rejected the association for now (source {source}, reason {reason})."
        return RetryLater(message, code="peer-busy")
    words = {  # of a permanent rejection (PS3.8 table 9-21)
        (1, 2): "it does not support our application context",
        (1, 3): f"it does not know our AE title, {peer.calling_ae_title}",
        (1, 7): f"it does not know the AE title that we call, {peer.ae_title}",
    }.get((source, reason), "it gives no reason")
    message = f"The peer rejected the association: {words} (source {source}, reason {reason})."
    return OperatorNeeded(message, code="peer-refused")


def _end(assoc: Association) -> None:
    with suppress(RuntimeError):  # the peer may end it in this moment
        if assoc.is_established:
            assoc.release()
        if assoc.is_alive() and not assoc.is_released:
            assoc.abort()
    if isinstance(assoc.dul.socket, Socket):
        assoc.dul.socket.make_closed()
