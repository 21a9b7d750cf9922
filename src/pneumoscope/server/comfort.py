"""How a page is shown to a visitor: language and theme, each kept in a cookie that says nothing else."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.server.language import COOKIE, LANGUAGES, Language, choose

THEME = "theme"
THEMES = ("dark", "light")
#: In a reading room, whatever the browser would like: what it is set to is mostly what its system came with, which is light.
READING_ROOM = "dark"
YEAR_S = 365 * 86400
router = APIRouter()


def language_of(request: Request) -> Language:
    """In which language the visitor is answered."""
    return choose(request.cookies.get(COOKIE, ""), request.headers.get("accept-language", ""))


def theme_of(request: Request) -> str:
    """What the visitor chose, else that of the application; empty: as the browser wishes."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else getattr(request.app.state, "theme", READING_ROOM)


@router.post("/comfort")
def comfort(
    request: Request,
    language: Annotated[str, Form()] = "",
    theme: Annotated[str, Form()] = "",
    back: Annotated[str, Form()] = "/",
) -> Response:
    """Keep what was chosen, and go back to the page."""
    # a path of this server and nothing else; browsers take a backslash for a slash
    local = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    answer = RedirectResponse(back if local else "/", 303)
    for name, value, allowed in ((COOKIE, language, tuple(LANGUAGES)), (THEME, theme, THEMES)):
        if value in allowed:
            secure = request.url.scheme == "https"
            answer.set_cookie(name, value, max_age=YEAR_S, httponly=True, samesite="lax", secure=secure)
    return answer
