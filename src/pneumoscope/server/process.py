"""The server as a process of the node."""

import signal
import socket

import structlog
import uvicorn
from fastapi import FastAPI

from pneumoscope import telemetry
from pneumoscope.config import Settings
from pneumoscope.delivery.connection import unusable
from pneumoscope.opening import open_store
from pneumoscope.server.app import build
from pneumoscope.server.timely import Timely

#: How long requests under way may go on after the server is asked to stop.
PARTING_S = 15
log = structlog.get_logger()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams never end by themselves: they are ended before requests under way are waited for."""
        self._app.state.desk.live.say_goodbye()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until asked to stop. Raises OperatorNeeded where a certificate cannot be used."""
    telemetry.set_up(settings, kind="server")
    # uvicorn ends on its own handler and raises the signal anew for the one that was there before: this
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    store = open_store(settings)
    app = build(settings, store)
    config = uvicorn.Config(
        app,
        http=Timely,
        host=settings.http.host or "127.0.0.1",
        port=settings.http.port,
        ssl_certfile=settings.http.certificate,
        ssl_keyfile=settings.http.key,
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=2**16,  # a subscriber has nothing to say
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who calls is who the socket says
        timeout_graceful_shutdown=PARTING_S,
        timeout_keep_alive=30,
        limit_concurrency=500,
    )
    try:
        config.load()
    except OSError as fault:  # ssl.SSLError is one
        raise unusable(certificate=settings.http.certificate, key=settings.http.key, code="certificate-unusable") from fault
    log.info("The web server starts", host=settings.http.host, port=settings.http.port, tls=config.is_ssl)
    _Server(config, app).run()
    log.info("The web server ends")
    store.database.close()
