"""An HL7 v2.5.1 ORU^R01 (chapter 7.3.1) made of the stored reading.json.

The same reading always gives the same bytes, control id and times included, so that a receiver recognises a resend.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from pneumoscope import codes
from pneumoscope.codes import Code
from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Category, Parcel
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, parse_date

#: HL7's name of each coding scheme (table 0396).
SCHEMES = {codes.SNOMED: "SCT", codes.LOINC: "LN", codes.RADLEX: "RADLEX", codes.DCM: "DCM", codes.UCUM: "UCUM"}
ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
REPRESENTATIONS = "AIP"  # of a name's component groups: alphabetic, ideographic, phonetic (table 0465)
SEXES = {"M": "M", "F": "F", "O": "O"}
#: How integration engines expect a study to be named (IHE RAD TF-2 4.28); of status "order detail", not a result.
DICOM_STUDY = Code("113014", codes.DCM, "DICOM Study")
PRELIMINARY, NO_RESULT, ORDER_DETAIL = "P", "X", "O"  # OBX-11 (table 0085), OBR-25 (table 0123)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Who speaks to whom: MSH-3 to MSH-6; and PID-3.4, who gives the patient numbers."""

    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    assigning_authority: str


def control_id(reading_id: str) -> str:
    """MSH-10, at most 20 characters (2.15.9.10), the same for the same reading."""
    return base64.b32encode(sha256(reading_id.encode()).digest())[:20].decode()


def build_message(parcel: Parcel, *, reading_id: str, header: Header) -> bytes:
    """The message in UTF-8, segments ended by CR. Raises OperatorNeeded where the parcel is no reading."""
    try:
        reading = json.loads(parcel.content)
        segments = list(_segments(reading, reading_id, header))
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise OperatorNeeded(f"The stored {parcel.name} is no reading.", code="result-damaged") from fault
    return "".join(f"{segment}\r" for segment in segments).encode()


def _segments(reading: dict[str, Any], reading_id: str, header: Header) -> Iterator[str]:
    study, made_at = reading["study"], _stamp(reading["made_at"])
    when = _study_time(study)
    yield _msh(header, made_at, control_id(reading_id))
    yield _pid(study, header)
    yield _obr(study, when, made_at, reading_id)
    yield f"NTE|1|L|{escape(NOT_FOR_DIAGNOSIS)}"
    model = reading["model"]
    device = f"{escape(model['name'] + ' ' + model['version'])}^{escape(model['manufacturer'])}^{model['device_uid']}^ISO"
    study_uid = ("ST", DICOM_STUDY, "", escape(study["StudyInstanceUID"]), "", ORDER_DETAIL)
    for k, fields in enumerate([study_uid, *_results(reading)], start=1):
        kind, code, sub_id, value, unit, status = fields
        yield f"OBX|{k}|{kind}|{_coded(code)}|{sub_id}|{value}|{unit}|||||{status}|||{when}||||{device}|{made_at}"


def _msh(header: Header, made_at: str, message_id: str) -> str:
    ends = (header.sending_application, header.sending_facility, header.receiving_application, header.receiving_facility)
    return f"MSH|^~\\&|{'|'.join(map(escape, ends))}|{made_at}||ORU^R01^ORU_R01|{message_id}|P|2.5.1||||||UNICODE UTF-8"


def _pid(study: dict[str, str], header: Header) -> str:
    number = escape(study["PatientID"])
    if number:
        number += f"^^^{escape(header.assigning_authority)}^PI"
    born = parse_date(study["PatientBirthDate"])
    names = "~".join(name for name in map(_name, study["PatientName"].split("="), REPRESENTATIONS) if name)
    return f"PID|1||{number}||{names}||{f'{born:%Y%m%d}' if born else ''}|{SEXES.get(study['PatientSex'], 'U')}"


def _name(group: str, representation: str) -> str:
    """XPN of one component group of a DICOM name: DICOM has prefix before suffix, HL7 suffix before prefix."""
    family, given, middle, prefix, suffix = (*map(escape, group.split("^")), "", "", "", "", "")[:5]
    if not any((family, given, middle, prefix, suffix)):
        return ""
    return f"{family}^{given}^{middle}^{suffix}^{prefix}^^L^{representation}"


def _obr(study: dict[str, str], when: str, made_at: str, reading_id: str) -> str:
    """OBR-3 the accession number, or our reading where there is none; OBR-18 the accession number as radiology expects it."""
    accession = escape(study["AccessionNumber"])
    filler = accession or f"{reading_id}^PNEUMOSCOPE"
    return f"OBR|1||{filler}|{_coded(codes.CHEST_CT)}|||{when}|||||||||||{accession}||||{made_at}||CT|{PRELIMINARY}"


def _results(reading: dict[str, Any]) -> Iterator[tuple[str, Code, str, str, str, str]]:
    """(OBX-2 type, OBX-3 code, OBX-4 sub-id, OBX-5 value, OBX-6 unit, OBX-11 status) of each result."""
    yield "TX", codes.SUMMARY, "", escape(reading["headline"]), "", PRELIMINARY
    yield _number(codes.STUDY_SCORE, reading["score"], codes.UNITY)
    category = Category(reading["category"])
    answer = f"{_coded(codes.CATEGORIES[category])}^^^^^^{escape(str(category))}"  # CWE-9, the original text
    yield "CWE", codes.CATEGORY, "", answer, "", PRELIMINARY
    if reading["reason"]:
        yield "TX", codes.REASON, "", escape(reading["reason"]), "", PRELIMINARY
    for finding in reading["findings"]:
        share = round(finding["share"] * 100, 3) if finding["volume_ml"] > 0 else None
        yield _number(codes.LESION_SHARE, share, codes.PERCENT, finding["region"])
    yield _number(codes.SEVERITY_SCORE, reading["severity_points"], codes.UNITY)
    for k, notice in enumerate(reading["notices"], start=1):
        yield "TX", codes.NOTICE, str(k), escape(notice["text"]), "", PRELIMINARY


def _number(code: Code, value: float | None, unit: Code, sub_id: str = "") -> tuple[str, Code, str, str, str, str]:
    """A measure; without a value it says so instead of zero."""
    text, status = ("", NO_RESULT) if value is None else (format(value, "g") if value else "0", PRELIMINARY)
    return "NM", code, sub_id, text, _coded(unit), status


def _coded(code: Code) -> str:
    return f"{escape(code.value)}^{escape(code.meaning)}^{SCHEMES.get(code.scheme, code.scheme)}"


def escape(text: str) -> str:
    """Text as a field may hold it (2.7): delimiters escaped, on one line, without control characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(ESCAPES.get(c, c) for c in plain)


def _stamp(moment: str) -> str:
    """TS of an ISO time with zone."""
    return f"{datetime.fromisoformat(moment):%Y%m%d%H%M%S%z}"


def _study_time(study: dict[str, str]) -> str:
    day = parse_date(study["StudyDate"])
    time = re.match(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9])?", study["StudyTime"].replace(":", ""))
    return f"{day:%Y%m%d}{time.group() if time else ''}" if day else ""
