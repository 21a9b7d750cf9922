"""A QIDO-RS request's parameters (PS3.18 8.3.4) as a question to the archive."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from pneumoscope.server.problems import Problem
from pneumoscope.store.search import Level, Question, matchable

MOST = {Level.STUDY: 1000, Level.SERIES: 2000, Level.INSTANCE: 5000}
MAX_VALUE_CHARACTERS = 4096
_OTHERS = {"accept", "charset"}
_TAG = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass(kw_only=True)
class Asked:
    """The question, which more attributes are wanted, and what the client must be told."""

    question: Question
    included: frozenset[str]
    everything: bool = False
    warnings: list[str] = field(default_factory=list)


def parse(parameters: Iterable[tuple[str, str]], *, level: Level, path: dict[str, str]) -> Asked:
    """``path``: UIDs that the path gives, by keyword. Raises Problem 400, which never echoes a value."""
    keys: dict[str, str] = {}
    pages = {"limit": MOST[level], "offset": 0}
    included: set[str] = set()
    warnings, unknown = [], False
    for name, value in parameters:
        keyword = keyword_of(name)
        if name in pages:
            pages[name] = count_of(name, value)
        elif name == "includefield":
            included |= {keyword_of(part) or part for part in value.split(",")}
        elif name == "fuzzymatching":
            if value not in ("true", "false"):
                raise Problem(400, "query-wrong", "fuzzymatching is true or false.")
            if value == "true":
                warnings.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
        elif keyword in matchable(level):
            keys[keyword] = (
                f"{keys[keyword]},{value_of(value)}" if keyword in keys and keyword.endswith("UID") else value_of(value)
            )
        elif name not in _OTHERS:
            unknown = True
    if unknown:
        warnings.append("Some of the query parameters are not supported here and were not matched.")
    for keyword, uid in path.items():
        if keys.setdefault(keyword, uid) != uid:
            raise Problem(400, "query-wrong", f"{keyword} is given twice, by the path and by the query.")
    limit = min(pages["limit"], MOST[level])
    question = Question(level=level, keys=keys, limit=limit, offset=pages["offset"])
    return Asked(question=question, included=frozenset(included), everything="all" in included, warnings=warnings)


def keyword_of(name: str) -> str:
    """Keyword of an attribute that is named by keyword or by tag; empty for anything else."""
    if tag_for_keyword(name) is not None:
        return name
    # and no other spelling of the number, such as 0x or blanks: who looks at names beforehand would not know it
    return keyword_for_tag(int(name, 16)) if _TAG.fullmatch(name) else ""


def count_of(name: str, value: str) -> int:
    """A limit or an offset. Raises Problem 400."""
    if not (value.isascii() and value.isdigit()) or len(value) > 9:
        raise Problem(400, "query-wrong", f"{name} is a whole number, 0 or more.")
    return int(value)


def value_of(value: str) -> str:
    """A value to match. Raises Problem 400."""
    if len(value) > MAX_VALUE_CHARACTERS or any(ord(character) < 32 for character in value):
        raise Problem(400, "query-wrong", "A value to match is too long or has control characters.")
    return value
