"""De-identification by the Basic Application Level Confidentiality Profile (PS3.15 E.2), without options.

What becomes of an attribute is data: ``profile.json`` holds the profile's column of PS3.15 Table E.1-1, edition 2026c, tags by
action. Where the table leaves a choice that depends on the IOD, a dummy value is taken, so that every IOD stays valid; of
sequences, as much is removed as may be. Only images of CT are taken: a report or a captured screen can show the patient's
name in what is left.
"""

import hashlib
import hmac
import json
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from pneumoscope.errors import Rejected
from pneumoscope.series.rules import CT_CLASSES

PROFILE = Path(__file__).with_name("profile.json")
#: Groups of overlays and of curves, both repeating: graphics and text over the image, removed whole.
_GRAPHICS = (0x6000, 0x5000)
#: Of the files on a medium (PS3.3 F): their names, and nothing of an image.
_DIRECTORY = 0x0004
#: Words of Image Type by which scanners name pages of text among the images of CT: captured screens, dose, "CT_SOM5 PROT".
_TEXT_PAGES = ("SCREEN", "DOSE", " PROT")
_DUMMY_TEXT = "ANONYMIZED"
#: A dummy value by VR; a text where none is named.
_DUMMIES: dict[str, object] = {
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SS", "US", "SL", "UL", "SV", "UV"), 0),
    **dict.fromkeys(("OB", "OW", "OD", "OF", "OL", "OV", "UN"), bytes(8)),
    "AS": "000Y",
    "AT": Tag(0, 0),
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "UR": "http://anonymized.invalid",
}
_BURNED_IN = "It says that text is burned into its image, which cannot be anonymised."
METHOD = ("Basic Application Level Confidentiality Profile", "DICOM PS3.15 2026c, no options")


def anonymise(content: bytes, secret: bytes) -> bytes:
    """A DICOM file without what tells of whom it is. Files under one ``secret`` keep belonging together. Raises Rejected."""
    try:
        dataset = pydicom.dcmread(BytesIO(content))
    except InvalidDicomError as fault:
        raise Rejected("It is no DICOM object.", code="not-dicom") from fault
    _refuse(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    if _has_planes_in_pixels(dataset):
        _clear_planes(dataset, compressed=syntax.is_compressed)
    Anonymiser(secret).clean(dataset)
    _declare(dataset)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.preamble = None
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _refuse(dataset: Dataset) -> None:
    image_type = str(dataset.get("ImageType") or "").upper()
    if UID(str(dataset.get("SOPClassUID", ""))) not in CT_CLASSES or "PixelData" not in dataset:
        raise Rejected("It is no CT image; only those are anonymised.", code="not-anonymised")
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES" or any(word in image_type for word in _TEXT_PAGES):
        raise Rejected(_BURNED_IN, code="burned-in-text")


def _has_planes_in_pixels(dataset: Dataset) -> bool:
    """Whether an overlay has no data of its own: it is in bits of the pixels (retired, PS3.5 8.1.2)."""
    groups = {tag.group for tag in list(dataset.keys()) if tag.group & 0xFF00 == 0x6000}
    named = any((group, 0x0102) in dataset and (group, 0x3000) not in dataset for group in groups)
    return named and dataset.BitsStored < dataset.BitsAllocated


def _clear_planes(dataset: Dataset, *, compressed: bool) -> None:
    """Leave the image's own bits alone. Raises Rejected where they cannot be reached."""
    if compressed or dataset.BitsAllocated not in (8, 16):
        raise Rejected(_BURNED_IN, code="burned-in-text")
    order = "<" if dataset.original_encoding[1] else ">"
    lowest = dataset.HighBit + 1 - dataset.BitsStored
    words = np.frombuffer(dataset.PixelData, np.dtype(f"{order}u{dataset.BitsAllocated // 8}"))
    dataset.PixelData = (words & ((1 << dataset.BitsStored) - 1 << lowest)).astype(words.dtype).tobytes()


def _declare(dataset: Dataset) -> None:
    """What was done (PS3.15 E.1.1, PS3.3 C.12.1.1.1.1)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = list(METHOD)
    dataset.DeidentificationMethodCodeSequence = [code]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


class Anonymiser:
    """The profile at work, with names and UIDs that hang on a secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def clean(self, dataset: Dataset) -> None:
        """Do what the profile says to each attribute of ``dataset`` and of the items in it."""
        patient = str(dataset.get("PatientID", "")) + "|" + str(dataset.get("PatientName", ""))
        self._clean(dataset)
        dataset.PatientName = dataset.PatientID = "ANON-" + self._digest("patient|" + patient)[:10].upper()

    def new_uid(self, uid: str) -> str:
        """Another UID (PS3.5 B.2), the same for the same ``uid``."""
        return f"2.25.{int(self._digest('uid|' + uid), 16) >> 128}"

    def _digest(self, text: str) -> str:
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            action = action_for(tag)
            if action == "K":
                if dictionary_VR(tag) == "SQ" and dataset[tag].VR != "SQ":
                    del dataset[tag]  # its items cannot be looked into
                elif _vr(dataset, tag) == "SQ":
                    for item in dataset[tag].value or ():
                        self._clean(item)
            else:
                self._act(dataset, tag, action)

    def _act(self, dataset: Dataset, tag: BaseTag, action: str) -> None:
        vr = _vr(dataset, tag)
        if action == "U" or (action == "D" and vr == "UI"):
            self._replace_uids(dataset, tag)
        elif vr == "SQ" and action.endswith("U*"):
            for item in dataset[tag].value or ():
                self._clean(item)
        else:
            do = action[0] if vr == "SQ" else action[-1]
            if do == "X":
                del dataset[tag]
            elif do == "Z":
                dataset[tag] = DataElement(tag, vr, [] if vr == "SQ" else None)
            else:
                dataset[tag] = DataElement(tag, vr, [Dataset()] if vr == "SQ" else _DUMMIES.get(vr, _DUMMY_TEXT))

    def _replace_uids(self, dataset: Dataset, tag: BaseTag) -> None:
        old = dataset[tag].value
        olds = old if isinstance(old, MultiValue) else [old] if old else []
        news = [self.new_uid(str(uid)) for uid in olds]
        dataset[tag] = DataElement(tag, "UI", news if len(news) > 1 else (news or [""])[0])


def action_for(tag: BaseTag) -> str:
    """The profile's action: its letters as in the table, K where it names none and the attribute is one of the standard's."""
    if tag.is_private or tag.group & 0xFF00 in _GRAPHICS or tag.group == _DIRECTORY or tag.element == 0:
        return "X"
    if not dictionary_has_tag(tag):
        return "X"
    return _actions().get(int(tag), "K")


@cache
def _actions() -> dict[int, str]:
    table: dict[str, list[str]] = json.loads(PROFILE.read_text(encoding="utf-8"))
    return {int(tag, 16): action for action, tags in table.items() for tag in tags}


def _vr(dataset: Dataset, tag: BaseTag) -> str:
    """Of the file where it says one, else of the dictionary; the first of several."""
    vr = dataset.get_item(tag).VR
    return str(vr) if vr and vr != "UN" else dictionary_VR(tag).partition(" ")[0]
