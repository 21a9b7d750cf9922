"""Pictures of a reading: slices with and without overlay, the coronal view, the summary sheet, a thumbnail."""

from pneumoscope.results.pictures.coronal import coronal
from pneumoscope.results.pictures.sheet import summary_sheet, thumbnail
from pneumoscope.results.pictures.slices import evidence_slice, key_slice

__all__ = ["coronal", "evidence_slice", "key_slice", "summary_sheet", "thumbnail"]
