"""The application: layers around, routes within."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from pneumoscope import __version__
from pneumoscope.config import Settings
from pneumoscope.server import api, pages, problems, rights, statics, upload, viewer, watch
from pneumoscope.server.access import Access
from pneumoscope.server.desk import Desk
from pneumoscope.server.dicomweb import pixels, qido, rendered, retrieve, stow
from pneumoscope.server.outer import Outer
from pneumoscope.server.pulse import Pulse
from pneumoscope.store import Store


def build(settings: Settings, store: Store) -> FastAPI:
    """Make the application."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        desk = Desk(settings=settings, store=store, pulse=Pulse(store.database))
        await anyio.to_thread.run_sync(desk.pulse.start)
        app.state.desk = desk
        try:
            yield
        finally:
            desk.children.close()
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
    problems.install(app)
    for part in (qido, retrieve, pixels, rendered, stow, watch, upload, api, pages, statics, viewer):
        rights.check(part.router.routes)
        app.include_router(part.router)
    return app
