"""What must be right before a node starts, said at once: its processes would die of it again and again."""

import errno
import socket
import time

from pneumoscope import tracing
from pneumoscope.config import Settings, Tls
from pneumoscope.errors import OperatorNeeded
from pneumoscope.receiver.tls import server_context

#: How long an earlier node, whose processes are ending, is waited for.
PATIENCE_S = 5.0


def require(settings: Settings) -> None:
    """Look at certificates and ports, and at what traces need. Raises OperatorNeeded."""
    tracing.require(settings.tracing)
    server_context(settings.dicom.tls)
    if certificate := settings.http.certificate:
        server_context(Tls(certificate=certificate, key=settings.http.key or certificate))
    give_up_at = time.monotonic() + PATIENCE_S
    _require_port("dicom.port", settings.dicom.host, settings.dicom.port, give_up_at)
    _require_port("http.port", settings.http.host or "127.0.0.1", settings.http.port, give_up_at)


def _require_port(name: str, host: str, port: int, give_up_at: float) -> None:
    """Receivers share their port, and so would those of two nodes: studies would reach the one or the other."""
    while fault := _cannot_listen(host, port):
        if fault.errno != errno.EADDRINUSE or time.monotonic() > give_up_at:
            raise OperatorNeeded(f"{name} {port} cannot be listened on: {_reason(fault, host)}", code="port-taken") from fault
        time.sleep(0.25)


def _cannot_listen(host: str, port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended are in nobody's way
            probe.bind((host, port))
    except OSError as fault:
        return fault
    return None


def _reason(fault: OSError, host: str) -> str:
    if fault.errno == errno.EADDRINUSE:
        return "another program has it, perhaps another node. End that, or set another port."
    if fault.errno == errno.EACCES:
        return (
            "ports below 1024 need more rights than this user has. deploy/pneumoscope.service gives them, or set another port."
        )
    return f"{host} is no address of this machine ({fault.strerror})."
