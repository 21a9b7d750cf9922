"""Parts of the patients whose results are watched apart."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise

from pneumoscope.fleet.messages import EDGES, WORDS

_AGES = (0, *(int(edge) for edge in EDGES["age_years"]), 120)
_AGE_NAMES = tuple(f"age:{low}-{high}" for low, high in pairwise(_AGES))
#: All of them: "sex:f", "age:60-70".
GROUPS = (*(f"sex:{sex}" for sex in WORDS["sex"]), *_AGE_NAMES)


def groups_of(features: Mapping[str, float | str]) -> tuple[str, ...]:
    """The groups that a study belongs to, by its ``sex`` and ``age_years``."""
    found = []
    if (sex := features.get("sex")) in WORDS["sex"]:
        found.append(f"sex:{sex}")
    if isinstance(age := features.get("age_years"), int | float):
        found.append(_AGE_NAMES[bisect_right(EDGES["age_years"], age)])
    return tuple(found)
