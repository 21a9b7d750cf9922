"""The application: layers around, routes within."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from pneumoscope import __version__
from pneumoscope.config import Settings
from pneumoscope.server import (
    account,
    agreement,
    api,
    comfort,
    guests,
    listing,
    login,
    pages,
    people,
    pool,
    problems,
    rendering,
    review,
    rights,
    service,
    statics,
    studypage,
    trail,
    upload,
    verdict,
    viewer,
    watch,
)
from pneumoscope.server.access import Access
from pneumoscope.server.cookies import Jar
from pneumoscope.server.credentials import limits_of
from pneumoscope.server.desk import Desk
from pneumoscope.server.dicomweb import pixels, qido, rendered, retrieve, stow, subscribers, workitems
from pneumoscope.server.live import Live
from pneumoscope.server.outer import Outer
from pneumoscope.server.pulse import Pulse
from pneumoscope.server.together import channel, meetings
from pneumoscope.store import Store, subscriptions

if TYPE_CHECKING:
    from pneumoscope.server.openid import Provider


def build(settings: Settings, store: Store) -> FastAPI:
    """Make the application."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        desk = Desk(
            settings=settings,
            store=store,
            pulse=Pulse(store.database),
            live=Live(store.database, limits_of(settings.people)),
            jar=Jar(settings.http.port),
            provider=_provider(settings),
        )
        await anyio.to_thread.run_sync(desk.pulse.start)
        desk.live.start()
        await anyio.to_thread.run_sync(store.database.insist, subscriptions.tell_of_restart)
        app.state.desk = desk
        try:
            yield
        finally:
            desk.children.close()
            await anyio.to_thread.run_sync(desk.live.stop)
            await anyio.to_thread.run_sync(desk.pulse.stop)

    app = FastAPI(
        title="Pneumoscope",
        version=__version__,
        lifespan=life,
        # their pages load scripts from other hosts
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(Outer, encrypted=settings.http.certificate is not None),
            Middleware(Access, settings=settings, store=store),
        ],
    )
    app.state.sharing = settings.fleet.share_readings
    problems.install(app, rendering.problem)
    programs = (qido, retrieve, pixels, rendered, stow, workitems, subscribers, watch, api)
    reading_room = (listing, studypage, pages, review, verdict, agreement, service, meetings, channel, upload, comfort)
    for part in (*programs, *reading_room, login, account, people, trail, guests, pool, statics, viewer):
        rights.check(part.router.routes)
        app.include_router(part.router)
    return app


def _provider(settings: Settings) -> "Provider | None":
    if not settings.people.by_openid:
        return None
    from pneumoscope.server.openid import Provider

    return Provider(settings.people.openid)
