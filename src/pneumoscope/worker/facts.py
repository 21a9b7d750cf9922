"""What an object of ours is filed by, told by the process that made it: whoever files it need not open it again."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from pneumoscope.intake.headers import read_header


def facts(path: Path) -> dict[str, Any]:
    """Header and digest of a DICOM file of ours; nothing of the patient or the examination, which the study's row has."""
    header, content = read_header(path), path.read_bytes()
    assert header.instances, "our own results can be read"
    one = header.instances[0]
    return {
        "SeriesInstanceUID": one.SeriesInstanceUID,
        "SOPInstanceUID": one.SOPInstanceUID,
        "SOPClassUID": one.SOPClassUID,
        "TransferSyntaxUID": one.TransferSyntaxUID,
        "Modality": one.Modality,
        "SeriesDescription": one.SeriesDescription,
        "Manufacturer": one.Manufacturer,
        "SeriesNumber": one.SeriesNumber,
        "InstanceNumber": one.InstanceNumber,
        "Rows": one.Rows or None,
        "Columns": one.Columns or None,
        "sha256": sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
