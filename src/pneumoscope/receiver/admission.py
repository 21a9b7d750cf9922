"""Who may open an association: a listed AE title, from a listed network, to ours."""

import ipaddress
from dataclasses import dataclass

from pneumoscope.config import Dicom, Sender, Tls


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Result, source and diagnostic of an A-ASSOCIATE-RJ (PS3.8 Table 9-21), and the reason for ourselves."""

    reason: str
    result: int = 1  # rejected-permanent
    source: int = 1  # DICOM UL service-user
    diagnostic: int


CALLED = Rejection(reason="called-ae-title", diagnostic=7)
CALLING = Rejection(reason="calling-ae-title", diagnostic=3)
ADDRESS = Rejection(reason="address", diagnostic=3)


def admit(settings: Dicom, *, calling: str, called: str, address: str) -> Sender | Rejection:
    """The entry of the settings that lets a caller in, or why there is none."""
    if called != settings.ae_title:
        return CALLED
    titled = [sender for sender in settings.senders if sender.ae_title in ("*", calling)]
    if not titled:
        return CALLING
    from_here = [sender for sender in titled if _within(address, sender.addresses)]
    # an entry of its own name says more of a sender than one for all
    return min(from_here, key=lambda sender: sender.ae_title == "*", default=ADDRESS)


def _within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in ipaddress.ip_network(network) for network in networks)


def answer_tls(settings: Dicom, sender: Sender) -> Tls | None:
    """How storage commitments are answered: None without TLS; the listener's files where the entry names none of its own."""
    if not sender.encrypted:
        return None
    return sender.tls if sender.tls != Tls() else settings.tls


def may_query(settings: Dicom, sender: Sender) -> bool:
    """Whether an admitted caller may be told of patients and be sent their images: a title alone is no proof of who calls."""
    if sender.query is None:
        return sender.is_of_hosts or settings.tls.authorities is not None
    return sender.query
