"""Pictures of a reading: slices with and without overlay, the coronal view, the summary sheet, a thumbnail."""

from pneumoscope.results.pictures.coronal import coronal
from pneumoscope.results.pictures.sheet import summary_sheet, thumbnail
from pneumoscope.results.pictures.slices import evidence_slice, key_slice, overlay_layer

__all__ = ["coronal", "evidence_slice", "key_slice", "overlay_layer", "summary_sheet", "thumbnail"]
