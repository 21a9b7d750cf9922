"""A receiver process: the listener, and beside it threads that file, answer, beat, and look at the watched folder."""

import gc
import threading
import time
import warnings
from contextlib import suppress

import structlog

from pneumoscope import telemetry, tracing
from pneumoscope.config import Settings
from pneumoscope.filing.opener import opener
from pneumoscope.filing.spool import Spool
from pneumoscope.loops import every, steady_s, stop_event
from pneumoscope.opening import open_store
from pneumoscope.receiver.clerk import Clerk
from pneumoscope.receiver.house import House
from pneumoscope.receiver.room import Room
from pneumoscope.receiver.scp import Listener
from pneumoscope.receiver.watched import Watched
from pneumoscope.store import processes

#: How long associations may go on once the receiver is asked to stop.
PARTING_S = 10.0
log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Receive until asked to stop."""
    telemetry.set_up(settings, kind="receiver")
    tracing.set_up(settings.tracing, kind="receiver")
    warnings.simplefilter("ignore")  # pydicom's quote values, which may be a patient's
    stop = stop_event()
    store = open_store(settings)
    with store.database.begin() as db:
        process_id = processes.enter(db, "receiver")
    house = House(settings, store, Spool(settings.spool), Room(store.files, settings.disk.watermark), process_id)
    opener.warm_up()
    gc.freeze()  # the library collects garbage again and again; what is here now never becomes any
    listener = Listener(house)
    clerk = Clerk(house)
    log.info("A receiver started", process_id=process_id, port=settings.dicom.port)
    over, pace = threading.Event(), settings.node.pace
    threads = [
        every(0.1 * pace, clerk.file, stop=over, name="filing"),
        every(0.5 * pace, clerk.answer, stop=over, name="commitments"),
        every(0.5 * pace, clerk.note, stop=over, name="audit"),
        every(steady_s(pace), clerk.beat, stop=over, name="beat"),
    ]
    if settings.watched.folder:
        threads.append(every(settings.watched.every_s, Watched(house).look, stop=over, name="watched"))
    stop.wait()
    listener.stop_accepting()
    give_up_at = time.monotonic() + PARTING_S
    while listener.open_associations and time.monotonic() < give_up_at:
        time.sleep(0.1)
    listener.abort_all()
    over.set()
    for thread in threads:
        thread.join(timeout=5)
    clerk.note()
    with suppress(Exception):  # what cannot be filed now stays in the spool
        clerk.file()
    store.database.insist(lambda db: processes.bury(db, process_id), patience_s=5)
    house.children.close()
    store.database.close()
    tracing.close()
