"""Whether the picture of how the score fared is of the model that made a reading."""

import json
from functools import cache
from pathlib import Path

import pneumoscope

#: The model that this package brings, of which ``static/reliability.svg`` is; read as a file, since the server loads no model.
_BUNDLE = Path(pneumoscope.__file__).parent / "models" / "lung_lesion" / "bundle.json"


def is_of(device_uid: str) -> bool:
    """A picture of another model's score would mislead."""
    return device_uid == _shipped()


@cache
def _shipped() -> str:
    return str(json.loads(_BUNDLE.read_text(encoding="utf-8"))["device_uid"])
