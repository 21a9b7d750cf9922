"""Templates to pages."""

from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, certainty, parse_date, percent, person_names
from pneumoscope.server.journal import visitor_of
from pneumoscope.store import now
from pneumoscope.store.schema import DeliveryState, Priority, StudyState


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - what a template takes
    """The page that template ``name`` makes of ``values`` for the visitor."""
    template = _environment().get_template(name)
    content = template.render(not_for_diagnosis=NOT_FOR_DIAGNOSIS, now=now(), visitor=visitor_of(request), **values)
    return Response(content, status, media_type="text/html")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pneumoscope.server", "templates"),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined] # what the extension adds
    environment.filters |= {
        "names": person_names,
        "day": _day,
        "moment": lambda value: f"{value:%Y-%m-%d %H:%M:%S}" if value else "",
        "percent": percent,
        "certainty": certainty,
        "size": lambda size: f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB",
    }
    environment.tests["stuck"] = lambda state: state == DeliveryState.STOPPED
    environment.globals |= {"csrf": str, "urgency": _urgency, "states": list(StudyState)}
    return environment


def _day(value: str) -> str:
    parsed = parse_date(value)
    return parsed.isoformat() if parsed else value


def _urgency(priority: int) -> str:
    return Priority(priority).name.lower() if priority in list(Priority) else str(priority)
