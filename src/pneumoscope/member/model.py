"""Models by the name that readings carry: "name version"."""

from pneumoscope.config import Settings
from pneumoscope.errors import PneumoscopeError
from pneumoscope.models import DEFAULT_BUNDLE, Examination, examine, trust
from pneumoscope.models.library import find


def default_model(settings: Settings) -> str:
    """Name and version of the settings' model, empty where there is none that can be used."""
    try:
        found = examine(find(settings.node.model) if settings.node.model else DEFAULT_BUNDLE, trust=trust())
    except PneumoscopeError:
        return ""
    return _name(found)


def device_uid(model: str, settings: Settings) -> str:
    """Device UID of a model that is here, else empty."""
    try:
        name, _, version = model.partition(" ")
        found = examine(DEFAULT_BUNDLE, trust=trust())
        if _name(found) != model or settings.node.model:
            found = examine(find(f"{name}-{version}"), trust=trust())
    except PneumoscopeError:
        return ""
    return found.manifest.device_uid if found.manifest and _name(found) == model else ""


def _name(found: Examination) -> str:
    return f"{found.manifest.name} {found.manifest.version}" if found.manifest else ""
