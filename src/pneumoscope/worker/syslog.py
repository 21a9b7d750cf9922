"""Sends the audit trail to a syslog server too (RFC 5424, over UDP), each entry once, by whichever worker comes first."""

import json
import socket

from pneumoscope.store import audit
from pneumoscope.worker.workflow import Bench

MARK = "syslog"
#: Facility 13 (log audit), severity 5 (notice).
PRIORITY = 13 * 8 + 5


class Syslog:
    """The audit trail as the syslog server sees it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        host, _, port = bench.settings.logs.syslog.rpartition(":")
        self._address = (host, int(port))

    def look(self) -> None:
        """Send what is new. A message that UDP loses stays in the audit trail itself."""
        with self._bench.store.database.begin() as db, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            for entry in audit.forward(db, MARK):
                text = json.dumps({key: str(value) for key, value in entry.items() if key != "at"})
                moment = entry["at"].isoformat(timespec="milliseconds")
                header = f"<{PRIORITY}>1 {moment} {socket.gethostname()} pneumoscope - audit -"
                line.sendto(f"{header} {text}".encode(), self._address)
