"""What the client takes (RFC 9110 12.5.1, PS3.18 8.7), against what there is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request

from pneumoscope.server.problems import Problem

JSON = "application/dicom+json"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
_ITEM = re.compile(r'(?:[^,"]|"[^"]*")+')
_PARAMETER = re.compile(r';\s*([\w.+-]+)\s*=\s*("[^"]*"|[^;]*)')


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One media range of an Accept header."""

    media_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    q: float = 1.0

    @property
    def is_multipart(self) -> bool:
        """Whether it asks for parts."""
        return self.media_type.startswith("multipart/")

    @property
    def transfer_syntax(self) -> str:
        """The one it asks for; empty for any."""
        asked = self.parameters.get("transfer-syntax", "*")
        return "" if asked == "*" else asked

    def takes(self, offer: "Offer") -> bool:
        """Whether ``offer`` is within this range."""
        if self.transfer_syntax and offer.syntaxes and self.transfer_syntax not in offer.syntaxes:
            return False
        if self.media_type == "*/*":
            return True
        if self.is_multipart != offer.multipart:
            return False
        inner = self.parameters.get("type", "*/*").lower() if self.is_multipart else self.media_type
        return inner in ("*/*", offer.media_type, f"{offer.media_type.partition('/')[0]}/*")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A form in which the resource can be had; ``syntaxes``: transfer syntaxes of it, where they matter."""

    media_type: str
    multipart: bool = False
    syntaxes: frozenset[str] = frozenset()


def wanted(request: Request) -> list[Wanted]:
    """Media ranges in the order of preference; the query parameter ``accept`` goes before the header (PS3.18 8.3.3.1)."""
    text = request.query_params.get("accept") or ", ".join(request.headers.getlist("accept")) or "*/*"
    ranges = []
    for item in _ITEM.findall(text[:4096]):
        media_type = item.partition(";")[0].strip().lower()
        parameters = {name.lower(): value.strip().strip('"') for name, value in _PARAMETER.findall(item)}
        try:
            q = float(parameters.pop("q", "1"))
        except ValueError:
            q = 0.0
        if media_type and q > 0:
            ranges.append(Wanted(media_type=media_type, parameters=parameters, q=q))
    return sorted(ranges, key=lambda found: -found.q)


def choose(request: Request, offers: Sequence[Offer]) -> tuple[Offer, Wanted]:
    """The offer that the client likes best, and the range it came by. Raises Problem 406."""
    for found in wanted(request):
        for offer in offers:
            if found.takes(offer):
                return offer, found
    have = ", ".join(dict.fromkeys(f"{'multipart/related of ' * offer.multipart}{offer.media_type}" for offer in offers))
    raise Problem(406, "not-acceptable", f"There is {have or 'nothing'} of it, and nothing that the request accepts.")


def need_json(request: Request) -> None:
    """Raise Problem 406 where the client does not take DICOM JSON."""
    choose(request, [Offer(media_type=JSON), Offer(media_type="application/json")])
