"""What a hub keeps, brought up to date before it serves: folder, database, certificates. It has no queue of readings."""

from pneumoscope.config import Hub, Settings
from pneumoscope.fleet.messages import Limits, Policy
from pneumoscope.hub.authority import Authority
from pneumoscope.opening import make_folders, open_store
from pneumoscope.store import Store


def prepare(settings: Settings) -> Store:
    """The store, made where it is not there. Raises OperatorNeeded."""
    make_folders(settings)
    return open_store(settings)


def open_authority(settings: Settings) -> Authority:
    """The certificates in the hub's folder. Raises OperatorNeeded."""
    return Authority(settings.node.folder.absolute() / "hub")


def policy_of(hub: Hub) -> Policy:
    """What the settings say, as sites are told."""
    given = hub.policy.model_dump()
    every = {name: given.pop(name) for name in ("window_s", "every_s")}
    return Policy(**every, limits=Limits(**given))
