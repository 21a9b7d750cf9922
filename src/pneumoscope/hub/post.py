"""What every request of a site needs at hand."""

from dataclasses import dataclass

from pneumoscope.hub.authority import Authority
from pneumoscope.hub.taking import Taking
from pneumoscope.store import Store


@dataclass(frozen=True, kw_only=True)
class Post:
    """One for the listener of the sites."""

    store: Store
    authority: Authority
    taking: Taking
    certificate_days: float
