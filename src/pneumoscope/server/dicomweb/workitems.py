"""UPS-RS: create, retrieve, update, claim, end, cancel and search work items (PS3.18 11.4 to 11.9)."""

import json
import re

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydicom.uid import generate_uid

from pneumoscope.dicomjson import Json, element, parse, text, values
from pneumoscope.server.desk import AtDesk, Desk, desk_of
from pneumoscope.server.dicomweb.accept import JSON, need_json
from pneumoscope.server.dicomweb.paths import PREFIX, Workitem, root_of
from pneumoscope.server.dicomweb.query import count_of, keyword_of, value_of
from pneumoscope.server.journal import note
from pneumoscope.server.limits import body
from pneumoscope.server.multipart import media_type_of
from pneumoscope.server.problems import Problem, answer
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import subscriptions, workitems
from pneumoscope.ups import ours, requirements
from pneumoscope.ups.states import State, Status

router = APIRouter(prefix=f"{PREFIX}/workitems", dependencies=[needs(Right.OPERATE)])
MAX_BODY_BYTES = 4 * 2**20
MOST = 200
_NOT_MATCHED = {"accept", "charset", "includefield"}
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")


def answered(status: Status, success: int = 200) -> Response:
    """The status of PS3.18 and its Warning header."""
    given = status.value
    headers = warned(given.warning) if given.warning else {}
    if given.http >= 400:
        message = given.warning or "There is no such work item here."
        return answer(given.http, f"ups-{given.code.lower()}", message, headers)
    return Response(status_code=success, headers=headers)


def warned(*texts: str) -> dict[str, str]:
    """A Warning header."""
    return {"Warning": ", ".join(f'299 pneumoscope "{text}"' for text in texts)}


@router.post("")
def create(request: Request, desk: AtDesk) -> Response:
    """Put a work item on the worklist."""
    dataset = _payload(request, desk)
    named = {_uid_asked(request, "workitem", "uid", "AffectedSOPInstanceUID"), text(dataset, "SOPInstanceUID")} - {""}
    if len(named) > 1:
        raise Problem(400, "work-item-wrong", "The UID is given twice, by the query and by the dataset.")
    if named & {subscriptions.EVERYTHING, subscriptions.FILTERED}:
        raise Problem(400, "work-item-wrong", "This UID stands for the whole worklist.")
    _need(requirements.faults_at_creation(dataset))
    uid = named.pop() if named else str(generate_uid(prefix=None))
    content = requirements.created(dataset, uid, label=ours.LABEL)
    with desk.store.database.begin() as db:
        fresh = workitems.create(db, uid, content)
    if not fresh:
        return answer(409, "ups-0111", "The Workitem already exists.", warned("The Workitem already exists."))
    note(request, "create work item", study=ours.input_study(content))
    place = f"{root_of(request)}/workitems/{uid}"
    modified = not values(dataset, "WorklistLabel")
    more = warned("The Workitem was created with modifications.") if modified else {}
    return Response(status_code=201, headers={"Location": place, "Content-Location": place} | more)


@router.get("/{workitem}")
def retrieve(request: Request, desk: AtDesk, workitem: Workitem) -> Response:
    """One work item, without its Transaction UID."""
    need_json(request)
    with desk.store.database.look() as db:
        row = workitems.get(db, workitem)
    if row is None:
        return answered(Status.UNKNOWN)
    note(request, "view", study=row["StudyInstanceUID"], detail="A work item.")
    dataset = subscriptions.whole(row)
    return _json([_with_places(dataset, root_of(request)) if row["reading_id"] else dataset])


@router.post("/{workitem}")
def update(request: Request, desk: AtDesk, workitem: Workitem) -> Response:
    """Change attributes: by anyone before the work item is claimed, then by its performer alone."""
    changes = _payload(request, desk)
    _need(requirements.faults_of_update(changes))
    key = _uid_asked(request, "transaction-uid", "TransactionUID") or text(changes, "TransactionUID")
    with desk.store.database.begin() as db:
        status = workitems.update(db, workitem, changes, key=key)
    _note(request, workitem, status, action="update work item", detail="Attributes.")
    return answered(status)


@router.put("/{workitem}/state")
def change_state(request: Request, desk: AtDesk, workitem: Workitem) -> Response:
    """Claim a work item, or end one's own."""
    dataset = _payload(request, desk)
    try:
        requested = State(text(dataset, "ProcedureStepState"))
    except ValueError:
        raise Problem(400, "work-item-wrong", f"ProcedureStepState is one of {', '.join(State)}.") from None
    with desk.store.database.begin() as db:
        status = workitems.change_state(db, workitem, requested, key=text(dataset, "TransactionUID"))
    _note(request, workitem, status, action="update work item", detail=f"To {requested}.")
    return answered(status)


@router.post("/{workitem}/cancelrequest")
def request_cancel(request: Request, desk: AtDesk, workitem: Workitem) -> Response:
    """Ask that a work item of someone else be canceled."""
    dataset = _payload(request, desk, needed=False)
    requester = desk.settings.dicom.ae_title  # whoever asks by HTTP has no AE title; it is passed on by this node
    with desk.store.database.begin() as db:
        status = workitems.request_cancel(db, workitem, dataset, requester=requester)
    _note(request, workitem, status, action="cancel work item", detail="Asked for.")
    return answered(status, 202)


@router.get("")
def search(request: Request, desk: AtDesk) -> Response:
    """Work items that match, in the order they were created."""
    need_json(request)
    keys, pages, warnings = {}, {"limit": MOST, "offset": 0}, []
    for name, value in request.query_params.multi_items():
        if name in pages:
            pages[name] = count_of(name, value)
        elif name == "fuzzymatching":
            if value != "false":
                warnings.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
        elif path := path_of(name):
            keys[path] = value_of(value)
        elif name not in _NOT_MATCHED:
            warnings.append("Some of the query parameters are not supported here and were not matched.")
    with desk.store.database.look() as db:
        found = workitems.find(db, keys, limit=min(pages["limit"], MOST), offset=pages["offset"])
    note(request, "query", detail=f"{len(found)} work item matches.")
    headers = warned(*dict.fromkeys(warnings)) if warnings else {}
    return _json(found, headers) if found else Response(status_code=204, headers=headers)


def path_of(name: str) -> str:
    """Keywords joined by dots, of an attribute that is named by keywords or tags; empty for anything else."""
    keywords = [keyword_of(part) for part in name.split(".")]
    return ".".join(keywords) if all(keywords) and len(keywords) <= 4 else ""


def _note(request: Request, workitem: str, status: Status, *, action: str, detail: str) -> None:
    with desk_of(request).store.database.look() as db:
        row = workitems.get(db, workitem)
    outcome = "success" if status.value.http < 400 else "refused"
    note(request, action, study=row["StudyInstanceUID"] if row else "", detail=detail, outcome=outcome)


def _payload(request: Request, desk: Desk, *, needed: bool = True) -> Json:
    """The dataset of the body. Raises Problem 400, 413 or 415."""
    content = b""
    for chunk in body(request, desk):
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise Problem(413, "body-too-large", f"A work item has at most {MAX_BODY_BYTES // 2**20} MB.")
    if not content and not needed:
        return {}
    media_type, _ = media_type_of(request.headers.get("content-type", ""))
    if media_type not in (JSON, "application/json"):
        raise Problem(415, "wrong-media-type", f"Work items are taken as {JSON} alone, not as XML.")
    try:
        return parse(content)
    except ValueError as fault:
        raise Problem(400, "work-item-wrong", str(fault)) from fault


def _need(faults: list[str]) -> None:
    if faults:
        raise Problem(400, "work-item-wrong", " ".join(faults))


def _uid_asked(request: Request, *names: str) -> str:
    """A UID among the query parameters: by name, or as PS3.18 writes it, alone and without one."""
    for name, value in request.query_params.multi_items():
        found = value if name in names else name if not value else ""
        if found:
            if not _UID.fullmatch(found):
                raise Problem(400, "query-wrong", "A UID has digits and dots, at most 64 characters.")
            return found
    return ""


def _with_places(dataset: Json, root: str) -> Json:
    """Where the results can be had, which depends on how the client calls this server."""
    for step in values(dataset, "UnifiedProcedureStepPerformedProcedureSequence"):
        for item in values(step, "OutputInformationSequence"):
            place = f"{root}/studies/{text(item, 'StudyInstanceUID')}/series/{text(item, 'SeriesInstanceUID')}"
            item.update(element("WADORSRetrievalSequence", element("RetrieveURL", place)))
    return dataset


def _json(found: list[Json], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(found, ensure_ascii=False).encode(), media_type=JSON, headers=headers)
