"""The authority's pages: layers around, routes within."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from jinja2 import ChoiceLoader, PackageLoader
from starlette.middleware import Middleware

from pneumoscope import __version__
from pneumoscope.config import Settings
from pneumoscope.hub import metrics, picture, rolloutpages, stoppages, words
from pneumoscope.hub.authority import Authority
from pneumoscope.server import account, comfort, login, people, problems, rendering, rights, statics, trail
from pneumoscope.server.access import Access
from pneumoscope.server.cookies import Jar
from pneumoscope.server.credentials import limits_of
from pneumoscope.server.desk import Desk
from pneumoscope.server.language import LANGUAGES
from pneumoscope.server.live import Live
from pneumoscope.server.outer import Outer
from pneumoscope.server.pulse import Pulse
from pneumoscope.store import Store

if TYPE_CHECKING:
    from pneumoscope.server.openid import Provider


def build(settings: Settings, store: Store, authority: Authority) -> FastAPI:
    """Make the application. What a node's pages take from ``http`` is of the hub's own listener here."""
    settings = as_node(settings)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.desk = Desk(
            settings=settings,
            store=store,
            pulse=Pulse(store.database),  # neither started: a hub has one process, and no worklist
            live=Live(store.database, limits_of(settings.people)),
            jar=Jar(settings.http.port),
            provider=_provider(settings),
        )
        yield

    app = FastAPI(
        title="Pneumoscope hub",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Outer, encrypted=True), Middleware(Access, settings=settings, store=store)],
    )
    loader = ChoiceLoader([PackageLoader("pneumoscope.hub", "templates"), PackageLoader("pneumoscope.server", "templates")])
    app.state.language = LANGUAGES["en"]
    app.state.authority = authority
    app.state.theme = ""  # as the browser wishes: an office is no reading room
    app.state.templates = rendering.environment(loader)
    app.state.templates.filters["alarm_words"] = words.alarm_words
    app.state.templates.filters["dictmerge"] = lambda given, more: {**given, **more}
    problems.install(app, rendering.problem)
    app.add_api_route("/health", health, methods=["GET"])
    for part in (picture, rolloutpages, stoppages, metrics, login, account, people, trail, comfort, statics):
        rights.check(part.router.routes)
        app.include_router(part.router)
    return app


async def health() -> Response:
    """The process is up; open to all, and so says nothing else."""
    return PlainTextResponse("up\n")


def as_node(settings: Settings) -> Settings:
    """Settings whose web listener is that of the hub's pages."""
    hub = settings.hub
    http = settings.http.model_copy(update={"host": hub.host, "port": hub.port, "certificate": None, "key": None})
    return settings.model_copy(update={"http": http})


def _provider(settings: Settings) -> "Provider | None":
    if not settings.people.by_openid:
        return None
    from pneumoscope.server.openid import Provider

    return Provider(settings.people.openid)
