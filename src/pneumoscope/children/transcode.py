"""A file in Explicit or Implicit VR Little Endian, whatever it is stored as."""

from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pneumoscope.children.frames import MAX_ANSWER_BYTES, frame_count, syntax_of, values


def as_plain(path: Path, *, implicit_vr: bool = False) -> bytes:
    """The object as a DICOM file, its pixels decoded. Raises Rejected."""
    dataset = pydicom.dcmread(path, force=True)
    syntax = syntax_of(dataset)
    if syntax.is_encapsulated and "PixelData" in dataset:
        frames, size = [], 0
        for index in range(frame_count(dataset)):
            frames.append(values(dataset, index).tobytes())
            size += len(frames[-1])
            if size > MAX_ANSWER_BYTES:
                raise ValueError("too large to be decoded")
        content = b"".join(frames)
        dataset.PixelData = content + b"\0" * (len(content) % 2)
        dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
        dataset["PixelData"].is_undefined_length = False
        if str(dataset.get("PhotometricInterpretation", "")).startswith("YBR") and dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    elif not syntax.is_little_endian and "PixelData" in dataset and dataset.BitsAllocated == 16:
        import numpy as np

        dataset.PixelData = np.frombuffer(dataset.PixelData, ">u2").astype("<u2").tobytes()
    buffer = BytesIO()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit_vr else ExplicitVRLittleEndian
    pydicom.dcmwrite(buffer, dataset, implicit_vr=implicit_vr, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()
