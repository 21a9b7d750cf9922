"""A worker process: DBOS carries readings out; beside it, each in a thread, clerk, worklist, outbox and watch."""

import structlog
from dbos import DBOS, DBOSConfig

from pneumoscope import telemetry, tracing
from pneumoscope.config import Settings
from pneumoscope.loops import every, steady_s, stop_event
from pneumoscope.opening import open_store
from pneumoscope.store import processes
from pneumoscope.worker import comparing  # noqa: F401 - DBOS finds its workflow here
from pneumoscope.worker.assessing import Assessing
from pneumoscope.worker.child import Reader
from pneumoscope.worker.clerk import Clerk
from pneumoscope.worker.clock import Clock
from pneumoscope.worker.posting import Posting
from pneumoscope.worker.retention import Retention
from pneumoscope.worker.sweep import Sweep
from pneumoscope.worker.syslog import Syslog
from pneumoscope.worker.watch import Watch
from pneumoscope.worker.workflow import QUEUE, Bench, set_bench
from pneumoscope.worker.worklist import Worklist

#: Workflows of another format are left to workers that know it.
WORKFLOW_FORMAT = "1"
#: How long a worker that is asked to stop goes on with the reading under way.
PARTING_S = 20
#: What an idle moment between two readings costs at most.
QUEUE_POLL_S = 0.03
log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Work until asked to stop."""
    telemetry.set_up(settings, kind="worker")
    tracing.set_up(settings.tracing, kind="worker")
    stop = stop_event()
    store = open_store(settings)
    with store.database.begin() as db:
        process_id = processes.enter(db, "worker")
    reader = Reader(settings.node.model)
    log.info("A worker started", process_id=process_id, model=reader.start())
    bench = Bench(settings=settings, store=store, process_id=process_id, reader=reader)
    pace = settings.node.pace
    _launch(bench)
    watch, clock = Watch(bench, stop), Clock(store.database)
    threads = [
        every(steady_s(pace), watch.beat, stop=stop, name="beat"),
        every(steady_s(pace), watch.look_around, stop=stop, name="watch"),
        every(1.0, clock.look, stop=stop, name="clock"),
        every(0.25 * pace, Clerk(bench).look, stop=stop, name="clerk"),
        every(0.25 * pace, Posting(bench).look, stop=stop, name="outbox"),
        every(0.25 * pace, Worklist(bench).look, stop=stop, name="worklist"),
        every(0.5 * pace, Assessing(bench).look, stop=stop, name="assessing"),
        every(10.0, Sweep(bench).look, stop=stop, name="sweep"),
        every(60.0, Retention(bench, clock).look, stop=stop, name="retention"),
    ]
    if settings.logs.syslog:
        threads.append(every(1.0, Syslog(bench).look, stop=stop, name="syslog"))
    stop.wait()
    log.info("The worker ends")
    DBOS.destroy(workflow_completion_timeout_sec=PARTING_S)
    reader.stop()
    for thread in threads:
        thread.join(timeout=5)
    watch.leave()
    store.database.close()
    tracing.close()


def _launch(bench: Bench) -> None:
    set_bench(bench)
    config: DBOSConfig = {
        "name": "pneumoscope",
        "system_database_url": bench.settings.workflow_url,
        "executor_id": bench.process_id,
        "application_version": WORKFLOW_FORMAT,
        "log_level": "ERROR",
        "max_executor_threads": 8,
        "notification_listener_polling_interval_sec": bench.settings.node.pace,
    }
    DBOS(config=config)
    DBOS.launch()
    # one at a time: a reading uses every core
    DBOS.register_queue(
        QUEUE, worker_concurrency=1, polling_interval_sec=QUEUE_POLL_S * bench.settings.node.pace, on_conflict="always_update"
    )
