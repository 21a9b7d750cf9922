"""A closed span of a site's readings as the window that leaves it: counts alone, and of those none from 1 to 4."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pneumoscope.fleet.cells import Cell, hidden_cells
from pneumoscope.fleet.groups import GROUPS, groups_of
from pneumoscope.fleet.messages import (
    EDGES,
    WORDS,
    Agreement,
    Answer,
    Histogram,
    Mode,
    ModelWindow,
    Paired,
    Role,
    Subgroup,
    Window,
)
from pneumoscope.fleet.wire import Count

#: What describes an input, of those in EDGES; the others are of readings.
INPUTS = ("thickness_mm", "noise_hu", "age_years", "lung_volume_l", "dose_mas")
_AGES = tuple(group.removeprefix("age:") for group in GROUPS if group.startswith("age:"))
_MODEL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)* [0-9A-Za-z.+-]{1,64}")
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DEVICE = re.compile(r"[0-9.]{1,64}")
Features = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A row of ``observation``. ``study`` tells studies apart and goes nowhere."""

    study: str
    reading_id: str
    model: str
    device_uid: str
    role: Role
    mode: Mode
    outcome: str  # read, refused, failed
    code: str = ""
    probability: float | None = None
    category: str = ""
    involved_share: float | None = None
    reading_s: float | None = None
    wait_s: float | None = None
    features: Features = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a person said of a study beside what a model said."""

    seen: Seen
    said: str  # as in Answer; something else where a reading was rejected without a word for what is right


def build(
    start: datetime,
    end: datetime,
    *,
    seen: Sequence[Seen],
    answered: Sequence[Answered] = (),
    present: Mapping[str, Seen] = MappingProxyType({}),
) -> Window:
    """The window. ``seen``, ``answered``: in the order in which they came; of each study the last counts.

    ``present``: by ``reading_id``, what the model in service said of readings that a candidate made too.
    """
    rows = list({(one.study, one.role, one.model if one.role is Role.CANDIDATE else ""): one for one in seen}.values())
    answers = list({(one.seen.study, _key(one.seen)): one for one in answered}.values())
    keys = sorted({*map(_key, rows), *(_key(one.seen) for one in answers)})
    table = _Table()
    served = [row for row in rows if row.role is Role.PRESENT]
    read = [row for row in served if row.outcome == "read"]
    table.numbers["read",] = len(read)  # by all models that were in service, to be told by none of its tables
    for key in keys:
        table.model(key, [row for row in rows if _key(row) == key], [one for one in answers if _key(one.seen) == key], present)
    ended = [key for key in keys if key[2] == Role.PRESENT]
    table.sum(("studies",), len(served), [cell for key in ended for cell in table.outcomes(key)])
    table.sum(("read",), len(read), [(key, "read") for key in ended])
    table.bins(("wait_s",), "wait_s", [row.wait_s for row in read], of=("read",))
    for name in INPUTS:
        table.bins((name,), name, [_number(row.features, name) for row in read], of=("read",))
    for name in WORDS:
        table.parts((name,), Counter(_word(row.features, name) for row in read), of=("read",))
    table.link(ended)
    told = table.told()
    return Window(
        start=start,
        end=end,
        studies=told["studies",],
        wait_s=_histogram(told, ("wait_s",), "wait_s"),
        inputs={name: _histogram(told, (name,), name) for name in INPUTS if any(row.features.get(name) for row in read)},
        words={name: _by_name(told, (name,)) for name in WORDS if read},
        models=tuple(_model_window(told, key) for key in keys),
    )


class _Table:
    """Numbers by cell, and which are sums of which."""

    def __init__(self) -> None:
        self.numbers: dict[Cell, int] = {}
        self.sums: list[tuple[Cell, ...]] = []
        self.rests: set[Cell] = set()
        #: How many studies were read, answered, compared is dear; how many ended follows nearly from the other counts.
        self.worth: dict[Cell, int] = {("read",): 2, ("studies",): 0}

    def sum(self, total: Cell, number: int, parts: Iterable[Cell]) -> None:
        self.numbers[total] = number
        self.sums.append((total, *parts))

    def rest(self, total: Cell, parts: Sequence[Cell], name: object) -> None:
        """What of a total is in none of its parts; it is not told, and may be small."""
        cell = ("rest", total, name)
        # of two counts that overlap without one being part of the other, what is beside them is as small as their difference
        self.numbers[cell] = abs(self.numbers[total] - sum(self.numbers[part] for part in parts))
        self.rests.add(cell)
        self.sums.append((total, *parts, cell))

    def parts(self, within: Cell, numbers: Mapping[Any, int], *, of: Cell, beside: Sequence[Cell] = ()) -> None:
        cells = {(*within, name): number for name, number in numbers.items()}
        self.numbers |= cells
        self.rest(of, [*cells, *beside], within)

    def bins(self, within: Cell, name: str, values: Iterable[float | None], *, of: Cell, beside: Sequence[Cell] = ()) -> None:
        counted = dict.fromkeys(range(len(EDGES[name]) + 1), 0)
        for value in values:
            if value is not None:
                counted[bisect_right(EDGES[name], value)] += 1
        self.parts(within, counted, of=of, beside=beside)

    def pair(self, whole: Cell, number: int, part: Cell, part_number: int) -> None:
        """A total of which one part is told; where the rest is small, the part is hidden."""
        self.numbers |= {whole: number, part: part_number}
        self.worth[whole] = 2
        self.rest(whole, [part], "pair")

    def outcomes(self, key: Cell) -> list[Cell]:
        return [cell for cell in self.numbers if cell[0] == key and cell[1] in ("read", "refused", "failed")]

    def model(self, key: Cell, rows: list[Seen], answers: list[Answered], present: Mapping[str, Seen]) -> None:
        read = [row for row in rows if row.outcome == "read"]
        total = (key, "read")
        self.numbers[total] = len(read)
        for outcome in ("refused", "failed"):
            for code, number in Counter(_coded(row.code) for row in rows if row.outcome == outcome).items():
                self.numbers[key, outcome, code] = number
        categories = Counter(row.category for row in read)
        self.parts((key, "categories"), {str(answer): categories[answer] for answer in Answer}, of=total)
        self.bins(
            (key, "score"), "score", [row.probability for row in read], of=total, beside=[(key, "categories", "cannot-say")]
        )
        percents = [None if row.involved_share is None else 100 * row.involved_share for row in read]
        self.bins((key, "involved_percent"), "involved_percent", percents, of=total)
        self.bins((key, "reading_s"), "reading_s", [row.reading_s for row in read], of=total)
        self._agreement(key, answers)
        if key[2] == Role.CANDIDATE:
            self.rest(("read",), [total], key)
            self._paired(key, [(row, present[row.reading_id]) for row in read if row.reading_id in present])
        else:
            self.worth[total] = 2
        for parting in ("sex", "age"):
            self._subgroups(key, parting, read, answers)

    def _agreement(self, key: Cell, answers: list[Answered]) -> None:
        agreed = sum(one.said == one.seen.category for one in answers)
        self.numbers |= {(key, "agreed"): agreed, (key, "disagreed"): len(answers) - agreed}
        self.worth[key, "answers"] = 2
        self.sum((key, "answers"), len(answers), [(key, "agreed"), (key, "disagreed")])
        said = Counter((one.seen.category, one.said) for one in answers if {one.seen.category, one.said} <= set(Answer))
        for same, total in ((True, "agreed"), (False, "disagreed")):
            cells: dict[Cell, int] = {(key, "table", f"{a}/{b}"): number for (a, b), number in said.items() if (a == b) is same}
            self.numbers |= cells
            self.rest((key, total), list(cells), "table")

    def _paired(self, key: Cell, pairs: list[tuple[Seen, Seen]]) -> None:
        both = [(ours, theirs) for ours, theirs in pairs if theirs.outcome == "read"]
        self.pair((key, "both"), len(both), (key, "same"), sum(a.category == b.category for a, b in both))
        self.rest((key, "read"), [(key, "both")], "alone")
        scores = [(a.probability, b.probability) for a, b in both]
        differences = [None if a is None or b is None else a - b for a, b in scores]
        self.bins((key, "score_difference"), "score_difference", differences, of=(key, "both"))

    def _subgroups(self, key: Cell, parting: str, read: list[Seen], answers: list[Answered]) -> None:
        groups: dict[str, tuple[list[Seen], list[Answered]]] = {}
        for row in read:
            for name in _groups(row, parting):
                groups.setdefault(name, ([], []))[0].append(row)
        for one in answers:
            for name in _groups(one.seen, parting):
                groups.setdefault(name, ([], []))[1].append(one)
        for name, (rows, said) in groups.items():
            at = (key, "subgroup", name)
            self.pair((*at, "read"), len(rows), (*at, "sign"), sum(row.category == Answer.SIGN for row in rows))
            agreed = sum(one.said == one.seen.category for one in said)
            self.pair((*at, "answers"), len(said), (*at, "agreed"), agreed)
        for kind in ("read", "sign", "answers", "agreed"):
            total = (key, "categories", "sign") if kind == "sign" else (key, kind)
            self.rest(total, [(key, "subgroup", name, kind) for name in groups], parting)

    def link(self, ended: Iterable[Cell]) -> None:
        """Ages and sexes stand twice: as inputs, and as subgroups of each model."""
        ages = {f"age:{name}": ("age_years", number) for number, name in enumerate(_AGES)}
        for group, cell in {**ages, **{f"sex:{word}": ("sex", word) for word in WORDS["sex"]}}.items():
            parts = [(key, "subgroup", group, "read") for key in ended]
            if self.numbers.get(cell):
                self.sums.append((cell, *(part for part in parts if part in self.numbers)))

    def told(self) -> dict[Cell, Count]:
        hidden = hidden_cells(self.numbers, self.sums, untold=self.rests, worth=self.worth)
        return {cell: None if cell in hidden else number for cell, number in self.numbers.items() if cell not in self.rests}


def _groups(row: Seen, parting: str) -> list[str]:
    known = {name: value for name, value in row.features.items() if isinstance(value, str | float | int)}
    return [name for name in groups_of(known) if name.startswith(f"{parting}:")]


def _key(row: Seen) -> tuple[str, str, str, str]:
    model = row.model if _MODEL.fullmatch(row.model) and len(row.model) <= 140 else ""
    return model, row.device_uid if _DEVICE.fullmatch(row.device_uid) else "", row.role.value, row.mode.value


def _coded(code: str) -> str:
    return code if _CODE.fullmatch(code) and len(code) <= 60 else "error"


def _number(features: Features, name: str) -> float | None:
    value = features.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _word(features: Features, name: str) -> str:
    value = features.get(name)
    if not value:
        return "unknown"
    return value if isinstance(value, str) and value in WORDS[name] else "unknown" if value == "unknown" else "other"


def _histogram(told: Mapping[Cell, Count], within: Cell, name: str) -> Histogram:
    return Histogram(bins=tuple(told[*within, number] for number in range(len(EDGES[name]) + 1)))


def _by_name(told: Mapping[Cell, Count], within: Cell) -> dict[str, Count]:
    length = len(within)
    return {str(cell[-1]): n for cell, n in told.items() if cell[:length] == within and len(cell) == length + 1}


def _model_window(told: Mapping[Cell, Count], key: tuple[str, str, str, str]) -> ModelWindow:
    model, device_uid, role, mode = key
    names = sorted({str(cell[2]) for cell in told if cell[:2] == (key, "subgroup")})
    paired = (
        Paired(
            both=told[key, "both"],
            same_category=told[key, "same"],
            score_difference=_histogram(told, (key, "score_difference"), "score_difference"),
        )
        if role == Role.CANDIDATE
        else None
    )
    return ModelWindow(
        model=model,
        device_uid=device_uid,
        role=Role(role),
        mode=Mode(mode),
        read=told[key, "read"],
        refused=_by_name(told, (key, "refused")),
        failed=_by_name(told, (key, "failed")),
        categories={Answer(name): number for name, number in _by_name(told, (key, "categories")).items()},
        score=_histogram(told, (key, "score"), "score"),
        involved_percent=_histogram(told, (key, "involved_percent"), "involved_percent"),
        reading_s=_histogram(told, (key, "reading_s"), "reading_s"),
        agreement=Agreement(answers=told[key, "answers"], agreed=told[key, "agreed"], table=_by_name(told, (key, "table"))),
        paired=paired,
        subgroups={
            name: Subgroup(**{kind: told[key, "subgroup", name, kind] for kind in ("read", "sign", "answers", "agreed")})
            for name in names
        },
    )
