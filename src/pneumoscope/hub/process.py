"""The hub as a process: two listeners and a clock, in one loop."""

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta

import anyio.to_thread
import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope import telemetry
from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.hub import joining, pages, reports
from pneumoscope.hub.authority import Authority
from pneumoscope.hub.moving import move, rules_of
from pneumoscope.hub.post import Post
from pneumoscope.hub.prepare import open_authority, policy_of, prepare
from pneumoscope.hub.taking import Taking
from pneumoscope.server.timely import Timely
from pneumoscope.store import Store, now, site_alarms

PARTING_S = 10
#: How often roll-outs are moved and silent sites looked for.
TICK_S = 5.0
#: Of its reporting interval, after which a site is silent.
SILENT_AFTER = 5
#: Sites call every minute on one connection.
KEEP_ALIVE_S = 150
MOST_FILES = 65_536
log = structlog.get_logger()


class _Server(uvicorn.Server):
    """One of two, so that neither takes the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them."""
        yield


def serve(settings: Settings, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until asked to stop. Raises OperatorNeeded."""
    telemetry.set_up(settings, kind="hub")
    _allow_connections()
    store = prepare(settings)
    authority = open_authority(settings)
    authority.serve_as(settings.hub.name)
    try:
        asyncio.run(_serve(settings, store, authority, ready))
    finally:
        store.database.close()
    log.info("The hub ends")


def _allow_connections() -> None:
    """As many as the system lets us: each site keeps one open."""
    now_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now_, wanted), most))


async def _serve(settings: Settings, store: Store, authority: Authority, ready: Callable[[], None]) -> None:
    hub = settings.hub
    taking = Taking(store.database, policy_of(hub))
    post = Post(store=store, authority=authority, taking=taking, certificate_days=hub.certificate_days)
    entrance = _Entrance(joining.build(hub, store, authority), pages.build(settings, store, authority))
    people = _config(entrance, authority, limit_concurrency=500)
    members = _config(
        reports.build(post),
        authority,
        http=reports.Protocol,
        ssl_ca_certs=str(authority.certificate_path),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=4096,
        lifespan="off",
    )
    sockets = [[_listen(hub.host, hub.port)], [_listen(hub.host, hub.sites_port)]]
    servers = [_Server(people), _Server(members)]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, servers)
    log.info("The hub starts", name=hub.name, port=hub.port, sites_port=hub.sites_port)
    running = [asyncio.create_task(server.serve(sockets=own)) for server, own in zip(servers, sockets, strict=True)]
    helping = [
        asyncio.create_task(taking.run()),
        asyncio.create_task(_tick(settings, store, authority, [people, members])),
        asyncio.create_task(_tell(servers, ready)),
    ]
    done, _ = await asyncio.wait([*running, *helping[:2]], return_when=asyncio.FIRST_COMPLETED)
    _stop(servers)
    await asyncio.gather(*running)
    for task in helping:
        task.cancel()
    for task in done:
        task.result()


async def _tell(servers: list[_Server], ready: Callable[[], None]) -> None:
    while not all(server.started for server in servers):
        await asyncio.sleep(0.05)
    ready()


def _stop(servers: list[_Server]) -> None:
    for server in servers:
        server.should_exit = True


async def _tick(settings: Settings, store: Store, authority: Authority, configs: list[uvicorn.Config]) -> None:
    """What time brings; a fault now is tried again with the next tick."""
    while True:
        try:
            await anyio.to_thread.run_sync(tick, settings, store)
            if authority.serve_as(settings.hub.name):
                for config in configs:  # who connects from now on sees it
                    assert config.ssl is not None
                    config.ssl.load_cert_chain(*authority.server_paths)
        except Exception:
            log.error("The hub's clock met a fault", exc_info=True)
        await asyncio.sleep(TICK_S)


def tick(settings: Settings, store: Store) -> None:
    """Look for silent sites, and move roll-outs on."""
    since = now() - timedelta(seconds=SILENT_AFTER * settings.hub.policy.every_s)
    with store.database.begin() as db:
        for title in site_alarms.silent(db, since=since):
            log.warning("A site is silent", title=title)
        move(db, rules_of(settings.hub))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=4096)
    except OSError as fault:
        raise OperatorNeeded(
            f"Port {port} of {host} cannot be listened on; another program may have it.", code="port-taken"
        ) from fault


def _config(app: ASGIApp, authority: Authority, **more: object) -> uvicorn.Config:
    certificate, key = authority.server_paths
    given: dict[str, object] = {
        "ssl_certfile": str(certificate),
        "ssl_keyfile": str(key),
        "http": Timely,
        "lifespan": "on",
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # who calls is who the socket says
        "timeout_graceful_shutdown": PARTING_S,
        "timeout_keep_alive": 30,
        **more,
    }
    config = uvicorn.Config(app, **given)  # type: ignore[arg-type] # each is one of its own
    try:
        config.load()
    except OSError as fault:  # ssl.SSLError is one
        raise OperatorNeeded("The hub's certificate or its key cannot be used.", code="certificate-unusable") from fault
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


class _Entrance:
    """Nodes that join have no account: what is theirs is answered before people are asked to log in."""

    def __init__(self, fleet: ASGIApp, people: ASGIApp) -> None:
        self._fleet, self._people = fleet, people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        fleet = scope["type"] == "http" and scope["path"].startswith("/fleet/")
        await (self._fleet if fleet else self._people)(scope, receive, send)
