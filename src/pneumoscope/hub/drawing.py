"""Pictures of the fleet's pages, as SVG made here: the epidemic curve, and a map of provinces by tiles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from markupsafe import Markup

from pneumoscope.store.fleet_figures import Figures

WIDTH, LEFT, RIGHT = 640, 48, 10
#: Top and height of the two panels: studies, and the share of them with signs.
_COUNTS, _SHARES = (22, 120), (184, 110)
_MOST_DATES = 8
TILE_PX = 62
#: Row and column of China's provinces, roughly where they lie.
PLACES = {
    "Heilongjiang": (0, 9), "Xinjiang": (1, 1), "Inner Mongolia": (1, 7), "Jilin": (1, 9), "Gansu": (2, 4), "Ningxia": (2, 5),
    "Shanxi": (2, 6), "Hebei": (2, 7), "Beijing": (2, 8), "Liaoning": (2, 9), "Qinghai": (2, 3), "Shaanxi": (3, 5),
    "Henan": (3, 6), "Shandong": (3, 8), "Tianjin": (3, 9), "Tibet": (3, 2), "Sichuan": (3, 4), "Anhui": (3, 7),
    "Chongqing": (4, 5), "Hubei": (4, 6), "Jiangsu": (4, 8), "Shanghai": (4, 9), "Guizhou": (5, 5), "Hunan": (5, 6),
    "Jiangxi": (5, 7), "Zhejiang": (5, 8), "Yunnan": (5, 4), "Guangxi": (6, 5), "Guangdong": (6, 6), "Fujian": (6, 7),
    "Taiwan": (6, 9), "Hainan": (7, 5), "Macao": (7, 6), "Hong Kong": (7, 7),
}  # fmt: skip
_COLUMNS = 10
#: Letters of a name that fit on a tile.
_FITS = 9
#: Shares at which a tile's colour gets stronger.
STEPS = (0.02, 0.05, 0.1, 0.2, 0.4)


def curve(days: Mapping[str, Figures], *, since: str, until: str) -> Markup:
    """Studies with signs by day, as bars with what is hidden on top, and below their share with 95 % intervals."""
    names = _days(since, until)
    if not any(day in days for day in names):
        return Markup("")
    step = (WIDTH - LEFT - RIGHT) / len(names)
    most = max(1, *(figures.sign.most for figures in days.values()))
    top_share = _top(days.values())
    parts = [
        *_axis(_COUNTS, _ticks(most), scale=most, form="{:,.0f}"),
        *_axis(_SHARES, _ticks(100 * top_share), scale=100 * top_share, form="{:g} %"),
    ]
    points: list[tuple[float, float]] = []
    for number, day in enumerate(names):
        x = LEFT + (number + 0.5) * step
        if number % max(1, round(len(names) / _MOST_DATES)) == 0:
            parts.append(f'<text x="{x:.1f}" y="{_SHARES[0] + _SHARES[1] + 18}" text-anchor="middle">{day[5:]}</text>')
        if figures := days.get(day):
            parts += _bar(x, 0.7 * step, figures, day, most=most)
            if (share := figures.positive).value is not None:
                low, high = (_y(_SHARES, end / top_share) for end in share.interval())
                middle = _y(_SHARES, (share.value or 0) / top_share)
                parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
                points.append((x, middle))
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
    parts.append(f'<path class="line" d="{line}"/>')
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points]
    titles = (
        f'<text class="head" x="{LEFT}" y="12">Studies with signs of COVID-19 pneumonia, by day</text>',
        f'<text class="head" x="{LEFT}" y="{_SHARES[0] - 12}">Their share of all studies that were read</text>',
    )
    height = _SHARES[0] + _SHARES[1] + 28
    label = f"Studies with signs of COVID-19 pneumonia and their share, by day, from {names[0]} to {names[-1]}"
    inner = "".join([*titles, *parts])
    return Markup(f'<svg class="curve" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{inner}</svg>')  # noqa: S704 - of numbers and our own words


def _top(figures: Iterable[Figures]) -> float:
    """Where the panel of shares ends: above every interval of a day that has some studies."""
    ends = [one.positive.interval()[1] for one in figures if one.read.least >= 20]
    return min(1.0, 1.15 * max(0.05, *ends, 0.05))


def _bar(x: float, width: float, figures: Figures, day: str, *, most: int) -> Iterable[str]:
    sign = figures.sign
    low, high, floor = _y(_COUNTS, sign.least / most), _y(_COUNTS, sign.most / most), _y(_COUNTS, 0)
    sides = f'x="{x - width / 2:.1f}" width="{width:.1f}"'
    told = f"<title>{day}: {sign} of {figures.read} studies, {figures.positive}</title>".replace("<5 ", "&lt;5 ")
    yield f'<g>{told}<rect class="sure" {sides} y="{low:.1f}" height="{floor - low:.1f}"/>'
    yield f'<rect class="hidden-part" {sides} y="{high:.1f}" height="{low - high:.1f}"/></g>'


def _y(panel: tuple[int, int], share: float) -> float:
    top, height = panel
    return top + height * (1 - max(0.0, min(1.0, share)))


def _axis(panel: tuple[int, int], ticks: Sequence[float], *, scale: float, form: str) -> list[str]:
    found = []
    for tick in ticks:
        y = _y(panel, tick / scale)
        found.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        found.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{form.format(tick)}</text>')
    return found


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 on, some four."""
    rough = most / 4
    power = 10 ** len(str(int(rough))) / 10 if rough >= 1 else 1
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), rough)
    return [number * step for number in range(6) if number * step <= most]


def _days(since: str, until: str) -> list[str]:
    first, last = date.fromisoformat(since), date.fromisoformat(until)
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A province on the map; ``strength``: 0 to 5, None where nothing was read."""

    name: str
    x: int
    y: int
    strength: int | None
    share: str
    troubled: int

    @property
    def told(self) -> str:
        """All that the tile shows, in words."""
        share = f"{self.share} with signs" if self.strength is not None else "nothing was read"
        trouble = f", {self.troubled} hospital{'s' if self.troubled > 1 else ''} in trouble" if self.troubled else ""
        return f"{self.name}: {share}{trouble}"

    @property
    def short(self) -> str:
        """As much of the name as fits on it."""
        return self.name if len(self.name) <= _FITS else f"{self.name[: _FITS - 1].rstrip()}…"


def tiles(
    provinces: Mapping[str, Figures], troubled: Mapping[str, int], *, places: Mapping[str, tuple[int, int]]
) -> tuple[list[Tile], int, int]:
    """Tiles of the provinces that have sites, in the order of their names, with width and height of the map in px.

    ``places``: row and column by name; empty: ``PLACES``.
    """
    names, places = sorted(set(provinces) | set(troubled)), places or PLACES
    known = [places[name] for name in names if name in places]
    top, left = (min(spot[axis] for spot in known) for axis in (0, 1)) if known else (0, 0)
    spots = {name: (places[name][0] - top, places[name][1] - left) for name in names if name in places}
    below = max((row + 1 for row, _ in spots.values()), default=0)
    others = [name for name in names if name not in places]
    spots |= {name: (below + number // _COLUMNS, number % _COLUMNS) for number, name in enumerate(others)}
    found = [_tile(name, spots[name], provinces.get(name), troubled.get(name, 0)) for name in names]
    rows, columns = (max((spot[axis] for spot in spots.values()), default=0) + 1 for axis in (0, 1))
    return found, columns * TILE_PX, rows * TILE_PX


def _tile(name: str, spot: tuple[int, int], figures: Figures | None, troubled: int) -> Tile:
    value = figures.positive.value if figures else None
    strength = None if value is None else sum(value >= step for step in STEPS)
    share = "–" if value is None else f"{100 * value:.1f} %"
    return Tile(name=name, x=spot[1] * TILE_PX, y=spot[0] * TILE_PX, strength=strength, share=share, troubled=troubled)


def legend() -> list[tuple[str, str]]:
    """Class of a tile and what it stands for, from nothing to most."""
    ends = [f"{100 * step:g}" for step in STEPS]
    between = [f"{low} to {high} %" for low, high in pairwise(ends)]
    words = [f"under {ends[0]} %", *between, f"{ends[-1]} % and more"]
    return [("none", "nothing read"), *((f"s{number}", text) for number, text in enumerate(words))]
