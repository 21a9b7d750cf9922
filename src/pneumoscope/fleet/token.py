"""The one-time token by which a hospital joins a fleet: where the hub is, how to know it, and a secret that it knows."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Self

from pneumoscope.errors import Rejected

_PREFIX = "pneumoscope-join-"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Token:
    """``join_url``: https URL to post to; ``authority_sha256``: of the hub's CA certificate, DER."""

    secret: str
    join_url: str
    authority_sha256: str

    @property
    def authority_url(self) -> str:
        """Where the hub's own CA certificate is, to be believed by its fingerprint alone."""
        return self.join_url.removesuffix("/join") + "/authority"

    def written(self) -> str:
        """One word, to be copied."""
        content = json.dumps([self.secret, self.join_url, self.authority_sha256], separators=(",", ":"))
        return _PREFIX + base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``written`` gave. Raises Rejected."""
        word = text.strip().removeprefix(_PREFIX)
        try:
            secret, url, digest = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
            if not (isinstance(secret, str) and secret and url.startswith("https://") and _SHA256.fullmatch(digest)):
                raise ValueError
        except (ValueError, TypeError, AttributeError):
            raise Rejected(
                "This is no token of a hub; it is one word that begins with pneumoscope-join-, copied whole.",
                code="token-wrong",
            ) from None
        return cls(secret=secret, join_url=url, authority_sha256=digest)
