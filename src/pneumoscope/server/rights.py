"""Who may do what: one table. Every route names the right that it needs, or the application does not start."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from pneumoscope.config import Role
from pneumoscope.server.language.vocabulary import N_
from pneumoscope.server.problems import Problem

__all__ = ["ALL_ROLES", "FREE", "RIGHTS", "Right", "Role", "check", "needs", "rights_of"]


class Right(StrEnum):
    """What a visitor may do."""

    LIST = N_("see the list of studies")
    OPEN = N_("open a study")
    JUDGE = N_("agree with a reading, change or reject it")
    COMPARE = N_("see how readers agree with readings")
    UPLOAD = N_("bring studies in")
    OPERATE = N_("have a study read or sent again")
    OVERSEE = N_("see which model is in service, and how it came there")
    RELEASE = N_("release a model, take it out of service")
    MANAGE = N_("manage people")
    AUDIT = N_("read the audit trail")
    MEASURE = N_("see measures and readiness")
    ACCOUNT = N_("look after an account of your own")


RIGHTS = {
    Role.READER: frozenset({Right.LIST, Right.OPEN, Right.JUDGE, Right.COMPARE, Right.UPLOAD, Right.OPERATE}),
    Role.TECHNICIAN: frozenset({Right.LIST, Right.UPLOAD, Right.OPERATE, Right.MEASURE}),
    Role.ADMINISTRATOR: frozenset(
        {Right.LIST, Right.COMPARE, Right.OPERATE, Right.OVERSEE, Right.RELEASE, Right.MANAGE, Right.MEASURE}
    ),
    Role.AUDITOR: frozenset({Right.AUDIT, Right.COMPARE, Right.OVERSEE}),
    Role.MONITOR: frozenset({Right.MEASURE}),
}
#: What holds nothing of anyone, and where people come in.
FREE = frozenset(
    {
        "/health",
        "/static/{name}",
        "/comfort",
        "/app-config.js",
        "/{name:path}",
        "/login",
        "/login/openid",
        "/login/openid/back",
        "/login/openid/out",
        "/guest/{offer_id}",
        "/guest/{offer_id}/done",
    }
)
#: Those of programs with a token in ``http.tokens``, and of this machine where it is trusted.
ALL_ROLES = frozenset(Role)


def rights_of(roles: Iterable[Role]) -> frozenset[Right]:
    """What the bearer of these roles may do."""
    return frozenset[Right]().union(*(RIGHTS[role] for role in roles))


class _Needs:
    def __init__(self, right: Right, *others: Right) -> None:
        self.right, self.enough = right, frozenset((right, *others))

    async def __call__(self, connection: HTTPConnection) -> None:
        if self.enough & connection.scope["visitor"].rights:
            return
        if self.right in (Right.OPEN, Right.JUDGE):  # what one may not see is not there
            raise Problem(404, "no-such-study", "There is no such study here.")
        raise Problem(403, "not-allowed", f"Your roles do not allow you to {self.right}.")


def needs(right: Right, *others: Right) -> Any:  # noqa: ANN401 - what FastAPI takes
    """A dependency of a route: only visitors with ``right``, or one of the ``others``, get further."""
    return Depends(_Needs(right, *others))


def check(routes: Iterable[BaseRoute]) -> None:
    """Raise ValueError for routes that name no right and are not open to whoever gets in."""
    bare = [path for route in routes if _right_of(route) is None and (path := getattr(route, "path", "?")) not in FREE]
    if bare:
        raise ValueError(f"these routes name no right: {', '.join(bare)}")


def _right_of(route: BaseRoute) -> Right | None:
    found = [need.dependency.right for need in getattr(route, "dependencies", ()) if isinstance(need.dependency, _Needs)]
    return found[-1] if found else None
