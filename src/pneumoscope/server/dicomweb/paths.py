"""Parts of DICOMweb paths, and where DICOMweb begins."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import Path, Request

from pneumoscope.server.desk import Desk
from pneumoscope.server.problems import Problem
from pneumoscope.store import search

PREFIX = "/dicom-web"
_UID = r"^[0-9]+(\.[0-9]+)*$"
Study = Annotated[str, Path(pattern=_UID, max_length=64)]
Series = Annotated[str, Path(pattern=_UID, max_length=64)]
Object = Annotated[str, Path(pattern=_UID, max_length=64)]
Workitem = Annotated[str, Path(pattern=_UID, max_length=64)]
#: VR AE (PS3.5 6.2): no control characters, no backslash, no spaces around.
AeTitle = Annotated[str, Path(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]


def root_of(request: Request) -> str:
    """DICOMweb's root as the client calls it."""
    return f"{request.url.scheme}://{request.url.netloc}{PREFIX}"


def rows_of(desk: Desk, study: str, series: str = "", instance: str = "") -> list[sa.RowMapping]:
    """Objects that a path names. Raises Problem 404 where there is none."""
    with desk.store.database.look() as db:
        rows = search.images(db, study, series, instance)
    if not rows:
        raise Problem(404, "not-found", "There is no such object here.")
    return rows
