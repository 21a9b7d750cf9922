"""The models that the reader process keeps at hand: each verified when it is loaded, two at most."""

from collections import OrderedDict
from dataclasses import replace

from pneumoscope.errors import OperatorNeeded
from pneumoscope.models import DEFAULT_BUNDLE, Bundle, load_bundle
from pneumoscope.models.library import find

#: The one in service and the one that is tried beside it.
MOST = 2


def title(bundle: Bundle) -> str:
    """Name and version, as readings carry them."""
    return f"{bundle.model.name} {bundle.model.version}"


class Bundles:
    """``default``: the model of the settings, a name or a folder, empty for that shipped. Raises OperatorNeeded."""

    def __init__(self, default: str = "") -> None:
        self._default = default
        self._kept: OrderedDict[str, Bundle] = OrderedDict()
        first = self._load_default()
        self.default_title = title(first)
        self._kept[self.default_title] = first

    def get(self, model: str = "") -> Bundle:
        """The bundle of a name and version, or that of the settings. Raises OperatorNeeded where it does not verify."""
        wanted = model or self.default_title
        if wanted not in self._kept:
            self._kept[wanted] = self._load_default() if wanted == self.default_title else _load(wanted)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(wanted)
        return self._kept[wanted]

    def _load_default(self) -> Bundle:
        return load_bundle(find(self._default) if self._default else DEFAULT_BUNDLE)


def _load(wanted: str) -> Bundle:
    found = load_bundle(find(wanted.replace(" ", "-")))
    if title(found) != wanted:
        raise OperatorNeeded(f"{title(found)} was found; needed is {wanted}.", code="model-unknown")
    return found


def with_limits(bundle: Bundle, *, no_sign_below: float, sign_from: float) -> Bundle:
    """The same model with a site's own limits for a study's categories."""
    return replace(bundle, calibration=replace(bundle.calibration, no_sign_below=no_sign_below, sign_from=sign_from))
