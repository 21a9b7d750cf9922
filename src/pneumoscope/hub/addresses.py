"""Where a hub is, for nodes and people."""

from pneumoscope.config import Hub


def pages_url(hub: Hub) -> str:
    """Where people look."""
    return f"https://{_bracketed(hub.name)}:{hub.port}"


def join_url(hub: Hub) -> str:
    """Where a node joins."""
    return f"{pages_url(hub)}/fleet/join"


def sites_url(hub: Hub) -> str:
    """Where sites report."""
    return f"https://{_bracketed(hub.name)}:{hub.sites_port}"


def _bracketed(name: str) -> str:
    """A name as URLs have it."""
    return f"[{name}]" if ":" in name else name
