"""``python -m pneumoscope.filing.child DESCRIPTOR``: examines files for the process that started it, until that is gone."""

import resource
import signal
import sys
import warnings
from multiprocessing.connection import Connection

from pneumoscope.filing.examine import examine

#: Address space: what the libraries map, and a header of any size that a scanner makes.
MEMORY_BYTES = 2 * 2**30


def serve(connection: Connection) -> None:
    """Answer (paths, rules, seconds) with what they are, in the same order."""
    warnings.simplefilter("ignore")
    for number in (signal.SIGINT, signal.SIGTERM):  # those of our parent, which has its last files examined when it stops
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    connection.send("ready")
    while True:
        try:
            paths, rules, limit_s = connection.recv()
        except (EOFError, OSError):
            return
        signal.alarm(int(limit_s) + 5)  # ends us where the parent died while we hang
        try:
            connection.send([examine(path, rules) for path in paths])
        except OSError as fault:  # a file that another process has filed meanwhile
            connection.send(type(fault)())
        signal.alarm(0)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
