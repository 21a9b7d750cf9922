"""What became of an upload, for programs and for the page that is shown without a script."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pneumoscope.filing.objects import REASONS, Outcome, Status
from pneumoscope.records import is_uid
from pneumoscope.server.anonymous import LEFT_OUT, LeftOut
from pneumoscope.server.intake import TAKEN
from pneumoscope.server.language.sentences import worded

#: Studies that the page links; the list has all.
MOST_STUDIES = 8
_WORDS = {**REASONS, **LEFT_OUT}


@dataclass(frozen=True, kw_only=True)
class Told:
    """For the page: how many objects of each status, how many were not taken for each reason, which studies they are of."""

    counts: dict[str, int]
    reasons: dict[str, int]
    studies: tuple[str, ...]


def told(outcomes: Sequence[Outcome], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """For programs, and for the page's script, in the language that is spoken."""
    why = [(item.code, item.message) for item in outcomes if item.code] + [(item.code, item.message) for item in left_out]
    codes, messages = Counter(code for code, _ in why), dict(why)
    counts = Counter(str(outcome.status) for outcome in outcomes) + Counter({"left out": len(left_out)})
    return {
        "studies": sorted({outcome.StudyInstanceUID for outcome in outcomes if outcome.status in TAKEN}),
        "outcomes": dict(sorted(counts.items())),
        "codes": dict(sorted(codes.items())),
        "reasons": [
            {"code": code, "count": number, "message": worded(messages[code])} for code, number in sorted(codes.items())
        ],
    }


def to_query(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as parameters of the page's address: counts, codes and UIDs, never a word of the objects."""
    numbers = {**found["outcomes"], **found["codes"]}
    return [(name, str(number)) for name, number in numbers.items()] + [
        ("study", uid) for uid in found["studies"][:MOST_STUDIES]
    ]


def from_query(query: Any) -> Told | None:  # noqa: ANN401 - Starlette's QueryParams
    """What an address tells, if it is one of ``to_query``; anything else in it is passed over."""
    numbers = {name: int(value) for name, value in query.items() if value.isascii() and value.isdigit() and len(value) < 7}
    counts = {name: numbers[name] for name in (*map(str, Status), "left out") if name in numbers}
    reasons = {words: numbers[code] for code, words in _WORDS.items() if code in numbers}
    studies = tuple(uid for uid in query.getlist("study")[:MOST_STUDIES] if is_uid(uid))
    return Told(counts=counts, reasons=reasons, studies=studies) if counts else None
