"""The member process: reports to the hub, its wishes, the site's own watch, each in a thread of its own."""

import os
import signal
import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope import telemetry
from pneumoscope.config import Settings
from pneumoscope.loops import every, steady_s, stop_event
from pneumoscope.member.guarding import Guarding
from pneumoscope.member.health import Looking
from pneumoscope.member.reporting import Reporting
from pneumoscope.member.stopping import Stopping
from pneumoscope.member.wishes import Wishes
from pneumoscope.opening import open_store
from pneumoscope.store import Database, processes

WATCH_EVERY_S = 60.0
#: After a fault of the database, or of ours, the next report is tried so much later.
TROUBLE_S = 10.0
PARTING_S = 2.0
log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Be a member until asked to stop."""
    telemetry.set_up(settings, kind="member")
    stop = stop_event()
    store = open_store(settings)
    pulse = _Pulse(store.database)
    looking, wishes, guarding = Looking(settings, store), Wishes(settings, store), Guarding(settings, store)
    stopping = Stopping(settings, store)
    reporting = Reporting(settings, store, looking, wishes.state)
    log.info("The member starts", process_id=pulse.process_id)
    pause_s = steady_s(settings.node.pace)
    threads = [
        every(pause_s, pulse.beat, stop=stop, name="beat"),
        every(pause_s, looking.listen, stop=stop, name="listen"),
        every(pause_s, wishes.look, stop=stop, name="wishes"),
        every(pause_s, stopping.look, stop=stop, name="stops"),
        every(WATCH_EVERY_S, guarding.look, stop=stop, name="watch"),
        _at_its_own_pace(reporting, stop=stop),
    ]
    stop.wait()
    log.info("The member ends")
    for thread in threads:
        thread.join(timeout=PARTING_S)
    pulse.leave()
    store.database.close()


def _at_its_own_pace(reporting: Reporting, *, stop: threading.Event) -> threading.Thread:
    """Reports, each as long after the one before as that one says."""

    def loop() -> None:
        pause_s, failed = 0.0, False
        while not stop.wait(pause_s):
            try:
                pause_s, failed = reporting.turn(), False
            except (SQLAlchemyError, OSError) as fault:
                if not failed:  # once, not with every turn
                    log.error("A report could not be made", fault=type(fault).__name__)
                pause_s, failed = TROUBLE_S, True
            except Exception:  # a bug here must not end reports for ever, unseen
                if not failed:
                    log.error("A report met a fault of ours; the next is tried", exc_info=True)
                pause_s, failed = TROUBLE_S, True

    thread = threading.Thread(target=loop, name="reports", daemon=True)
    thread.start()
    return thread


class _Pulse:
    """Ours among the processes of the node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.process_id = database.insist(lambda db: processes.enter(db, "member"))

    def beat(self) -> None:
        """Say that we live; where we were taken for dead, end: another is started."""
        with self._database.begin() as db:
            lives = processes.beat(db, self.process_id)
        if not lives:
            log.error("This member was taken for dead and ends")
            os.kill(os.getpid(), signal.SIGTERM)

    def leave(self) -> None:
        """End in order."""
        try:
            with self._database.begin() as db:
                processes.bury(db, self.process_id)
        except SQLAlchemyError as fault:  # then a worker will find us dead
            log.warning("The member could not sign off", fault=type(fault).__name__)
