"""Templates to pages."""

from contextvars import ContextVar
from datetime import datetime
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pneumoscope.codes import severity
from pneumoscope.results.diagrams import BAND_FILLS, LUNG_PATHS
from pneumoscope.results.words import parse_date, person_names
from pneumoscope.server import ahead, serving
from pneumoscope.server.comfort import THEMES, language_of, theme_of
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.language import LANGUAGES, current, say, say_many, sentences, speaking, vocabulary
from pneumoscope.server.rights import Right
from pneumoscope.store import now
from pneumoscope.store.schema import DeliveryState

#: Macros that are imported know nothing of the page that imports them.
_csrf: ContextVar[str] = ContextVar("csrf", default="")


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - what a template takes
    """The page that template ``name`` makes of ``values`` for the visitor, in the visitor's language."""
    visitor = visitor_of(request)
    language = getattr(request.app.state, "language", None) or language_of(request)  # an application may speak one alone
    _csrf.set(visitor.csrf)
    with speaking(language):
        content = (
            _environment_of(request)
            .get_template(name)
            .render(
                now=now(),
                visitor=visitor,
                may=lambda right: Right[right] in visitor.rights,
                language=language,
                theme=theme_of(request),
                sharing=getattr(request.app.state, "sharing", False) and not visitor.guest,
                serving=None if name == "problem.html" else serving.banner(request),
                here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
                **values,
            )
        )
    headers = {"Content-Language": language.tag, "Vary": "Accept-Language, Cookie"}
    return Response(content, status, media_type="text/html", headers=headers)


def problem(request: Request, *, status: int, code: str, message: str) -> Response:
    """What a person is shown instead of what they asked for."""
    return page(request, "problem.html", status=status, problem_status=status, code=code, message=message)


def _environment_of(request: Request) -> Environment:
    """That of the application, where it has templates of its own."""
    return getattr(request.app.state, "templates", None) or _environment()


@cache
def _environment() -> Environment:
    return environment(PackageLoader("pneumoscope.server", "templates"))


def environment(loader: BaseLoader) -> Environment:
    """What templates may use."""
    environment = Environment(
        loader=loader,
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(say, say_many, newstyle=True)  # type: ignore[attr-defined] # what the extension adds
    environment.filters |= {
        "names": person_names,
        "day": _day,
        "moment": _moment,
        "percent": vocabulary.percent,
        "certainty": vocabulary.certainty,
        "number": lambda value, digits=0: current.get().number(value, digits),
        "size": _size,
        "state_word": lambda value: _word(vocabulary.STATES, value),
        "delivery_word": lambda value: _word(vocabulary.DELIVERY_STATES, value),
        "priority_word": lambda value: _word(vocabulary.PRIORITIES, value),
        "category_word": lambda value: _word(vocabulary.CATEGORIES, value),
        "short_category": lambda value: _word(vocabulary.SHORT_CATEGORIES, value),
        "region_word": lambda value: _word(vocabulary.REGIONS, value),
        "role_word": lambda value: _word(vocabulary.ROLES, value),
        "right_word": say,
        "action_word": lambda value: _word(vocabulary.ACTIONS, value),
        "action_outcome": lambda value: _word(vocabulary.ACTION_OUTCOMES, value),
        "task_word": lambda value: _word(vocabulary.TASKS, value),
        "verdict_word": lambda value: _word(vocabulary.VERDICTS, value),
        "mode_word": lambda value: _word(vocabulary.MODES, value),
        "act_word": lambda value: _word(vocabulary.ACTS, value),
        "taking_word": lambda value: _word(vocabulary.TAKINGS, value),
        "sex_word": lambda value: _word(vocabulary.SEXES, value),
        "tone": lambda value: vocabulary.TONES.get(value, ""),
        "said": sentences.said,
        "band": lambda share: BAND_FILLS[severity(share)[0]],
        "points": lambda share: severity(share)[0],
    }
    environment.tests["stuck"] = lambda state: state == DeliveryState.STOPPED
    environment.globals |= {
        "csrf": _csrf_field,
        "Right": Right,
        "languages": LANGUAGES.values(),
        "themes": THEMES,
        "lungs": LUNG_PATHS,
        "ahead": Markup(ahead.RULES),  # noqa: S704 - our own words
    }
    return environment


def _word(words: dict[Any, str], value: Any) -> str:  # noqa: ANN401 - what a row holds
    return say(words[value]) if value in words else str(value)


def _day(value: str) -> str:
    """A DICOM date; it has no time zone, and is never moved by one."""
    parsed = parse_date(value)
    return parsed.isoformat() if parsed else value


def _csrf_field() -> Markup:
    """What every form holds near its beginning; nothing for visitors without a session."""
    token = _csrf.get()
    return Markup('<input type="hidden" name="csrf" value="{}">').format(token) if token else Markup()


def _moment(value: datetime | None) -> Markup:
    """A moment in UTC, which a script shows in the browser's own zone."""
    if value is None:
        return Markup("")
    return Markup('<time class="moment" datetime="{}">{} UTC</time>').format(
        f"{value:%Y-%m-%dT%H:%M:%SZ}", f"{value:%Y-%m-%d %H:%M:%S}"
    )


def _size(size_bytes: int) -> str:
    number = current.get().number
    return f"{number(size_bytes / 1e6, 1)} MB" if size_bytes >= 1e5 else f"{number(size_bytes / 1e3, 0)} kB"
