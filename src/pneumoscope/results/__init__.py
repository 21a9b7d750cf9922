"""Readings to objects that others can read: DICOM, FHIR, reports. Each builder is pure."""

#: Results whose names begin so are pictures for the node's own pages: kept beside the others, and sent to nobody.
PAGE_PICTURE = "page-"
THUMBNAIL = f"{PAGE_PICTURE}thumbnail.jpg"


def slice_name(place: int) -> str:
    """Name of the picture of the key slice at this place, 0 being the worst."""
    return f"{PAGE_PICTURE}slice-{place}.jpg"


def overlay_name(place: int) -> str:
    """Name of what is laid over it."""
    return f"{PAGE_PICTURE}overlay-{place}.png"
