"""A PACS that can be asked and fetched from: by QIDO-RS and WADO-RS where it has a ``url``, else by C-FIND and C-MOVE."""

from collections.abc import Iterator
from typing import Protocol

from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)
from requests.exceptions import RequestException

from pneumoscope.config import Pacs, Settings
from pneumoscope.delivery.mended import Entity
from pneumoscope.errors import OperatorNeeded, RetryLater

TIMEOUT_S = 20
#: Studies asked for at once.
PAGE = 200


class Archive(Protocol):
    """What can be asked of a PACS. All raise RetryLater where it does not answer as it must."""

    def studies(self, dates: str) -> list[str]:
        """Study Instance UIDs of CT studies; ``dates`` as DICOM's range matching has them (PS3.4 C.2.2.2.5), empty for all."""
        ...

    def series_sizes(self, StudyInstanceUID: str) -> dict[str, int]:
        """How many objects it holds of each series of a study."""
        ...

    def fetch(self, StudyInstanceUID: str) -> Iterator[bytes] | None:
        """The objects of a study as files; None where they come to our own listener."""
        ...


def open_archive(pacs: Pacs, settings: Settings) -> Archive:
    """Nothing is asked before it is used. Raises OperatorNeeded where the settings do not say how to reach it."""
    return _Web(pacs) if pacs.url else _Dimse(pacs, settings)


class _Web:
    def __init__(self, pacs: Pacs) -> None:
        headers = {"Authorization": f"Bearer {pacs.token}"} if pacs.token else None
        self._client = DICOMwebClient(pacs.url, headers=headers)

    def studies(self, dates: str) -> list[str]:
        filters = {"ModalitiesInStudy": "CT"} | ({"StudyDate": dates} if dates else {})
        found: dict[str, None] = {}
        while True:
            try:
                page = self._client.search_for_studies(search_filters=filters, limit=PAGE, offset=len(found))
            except RequestException as fault:
                raise _away(fault) from fault
            fresh = {str(Dataset.from_json(item).StudyInstanceUID) for item in page} - found.keys()
            if not fresh:  # also of a server that does not know offsets, and answers the same for ever
                return list(found)
            found |= dict.fromkeys(sorted(fresh))

    def series_sizes(self, StudyInstanceUID: str) -> dict[str, int]:
        try:
            found = self._client.search_for_series(StudyInstanceUID, fields=["NumberOfSeriesRelatedInstances"])
        except RequestException as fault:
            raise _away(fault) from fault
        return _sizes([Dataset.from_json(item) for item in found])

    def fetch(self, StudyInstanceUID: str) -> Iterator[bytes] | None:
        return self._objects(StudyInstanceUID)

    def _objects(self, StudyInstanceUID: str) -> Iterator[bytes]:
        try:
            for dataset in self._client.iter_study(StudyInstanceUID):
                buffer = DicomBytesIO()
                dataset.save_as(buffer, enforce_file_format=True)
                yield buffer.getvalue()
        except RequestException as fault:
            raise _away(fault) from fault


class _Dimse:
    def __init__(self, pacs: Pacs, settings: Settings) -> None:
        if not (pacs.ae_title and pacs.host and pacs.port):
            raise OperatorNeeded(
                "The PACS has neither a url nor an ae_title with host and port; one of them is needed.", code="settings-wrong"
            )
        self._peer = (pacs.host, pacs.port, pacs.ae_title)
        self._own_title = settings.dicom.ae_title
        self._tls = pacs.tls.as_client() if pacs.encrypted else None

    def studies(self, dates: str) -> list[str]:
        query = _query("STUDY", StudyInstanceUID="", StudyDate=dates, ModalitiesInStudy="CT")
        found = self._ask(StudyRootQueryRetrieveInformationModelFind, "send_c_find", query)
        return [str(answer.StudyInstanceUID) for answer in found if "StudyInstanceUID" in answer]

    def series_sizes(self, StudyInstanceUID: str) -> dict[str, int]:
        query = _query("SERIES", StudyInstanceUID=StudyInstanceUID, SeriesInstanceUID="", NumberOfSeriesRelatedInstances=None)
        return _sizes(self._ask(StudyRootQueryRetrieveInformationModelFind, "send_c_find", query))

    def fetch(self, StudyInstanceUID: str) -> Iterator[bytes] | None:
        """The images come to our listener, which knows by the move's originator that they are no new study."""
        query = _query("STUDY", StudyInstanceUID=StudyInstanceUID)
        self._ask(StudyRootQueryRetrieveInformationModelMove, "send_c_move", query, self._own_title)
        return None

    def _ask(self, model: str, verb: str, query: Dataset, *arguments: str) -> list[Dataset]:
        host, port, title = self._peer
        node = Entity(self._own_title)
        node.acse_timeout = node.connection_timeout = TIMEOUT_S
        node.add_requested_context(model)
        tls_args = (self._tls.context(), host) if self._tls else None
        association = node.associate(host, port, ae_title=title, tls_args=tls_args)
        if not association.is_established:
            raise RetryLater("The PACS does not take the association.", code="peer-unreachable")
        try:
            answers = []
            for status, answer in getattr(association, verb)(query, *arguments, model):
                if not status or status.Status not in (0x0000, 0xFF00, 0xFF01):
                    code = f"0x{status.Status:04X}" if status else "none"
                    raise RetryLater(f"The PACS answered with status {code}; 0x0000 was expected.", code="peer-failed")
                if answer is not None:
                    answers.append(answer)
            return answers
        finally:
            association.release()


def _query(level: str, **elements: str | None) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in elements.items():
        setattr(query, keyword, value)
    return query


def _sizes(found: list[Dataset]) -> dict[str, int]:
    return {
        str(series.SeriesInstanceUID): int(series.NumberOfSeriesRelatedInstances)
        for series in found
        if series.get("SeriesInstanceUID") and series.get("NumberOfSeriesRelatedInstances") is not None
    }


def _away(fault: RequestException) -> RetryLater:
    status = getattr(fault.response, "status_code", None)
    return RetryLater(f"The PACS did not answer as it must ({status or type(fault).__name__}).", code="peer-unreachable")
