"""Draw a plot as SVG that takes its colours from the page, so that it is right in light, in dark and on paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup, escape

from robench.evidence.plain_text import plain
from robench_leaderboard.render.axis_scales import scale
from robench_leaderboard.render.chart import Mark, Plot, Series

WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 42

#: Colours; more series than these share them, and are told apart by hollow marks.
TONES = 8
#: Series named beside their marks; more are named in the legend alone.
NAMED = 10
#: The width of a letter of such a name, which is cut only where neither side of its mark has room for it.
LETTER = 7
#: Least distance of two names, in units of the drawing.
LINE = 13


def draw(plot: Plot) -> Markup:
    """Return the plot as one ``<svg>`` with a title and a description."""
    return Drawing(plot).whole()


def swatch(series: Series) -> Markup:
    """Return the key of a series, for the legend."""
    mark = _element("circle", cx=14, cy=6, r=4)
    line = _element("line", x1=0, y1=6, x2=28, y2=6) if series.joined else Markup("")
    return _element(
        "svg", line + mark, viewBox="0 0 28 12", width=28, height=12, aria_hidden="true", class_=classes(series)
    )


def classes(series: Series) -> str:
    """Return the classes that give a series its colour, its dash and whether its marks are filled."""
    hollow = " hollow" if series.tone >= TONES and series.tone // TONES % 2 else ""
    return f"series t{series.tone % TONES} d{series.dash % 4}{hollow}"


class Drawing:
    """Place one plot's marks on the paper."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self.x = scale(plot.x, _extent(plot, across=True))
        self.y = scale(plot.y, _extent(plot, across=False))

    def whole(self) -> Markup:
        """Return the ``<svg>``."""
        key = self.plot.key
        head = _element("title", escape(plain(f"{self.plot.about}: {self.plot.title}", 300)), id=f"{key}-title")
        head += _element("desc", escape(plain(self.plot.says, 1000)), id=f"{key}-desc")
        body = [head, self.axes(), self.front()]
        body += [self.series(place, series) for place, series in enumerate(self.plot.series)]
        body += self.names()
        labels = {"aria-labelledby": f"{key}-title", "aria-describedby": f"{key}-desc"}
        return _element("svg", _joined(body), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", **labels)

    def left(self, value: float) -> float:
        """Return the horizontal place of a value."""
        return LEFT + self.x(value) * (WIDTH - LEFT - RIGHT)

    def down(self, value: float) -> float:
        """Return the vertical place of a value."""
        return HEIGHT - BOTTOM - self.y(value) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> Markup:
        """Return the grid, its numbers and the names of the axes."""
        parts = []
        for value, name in self.y.ticks:
            y = self.down(value)
            parts.append(_element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(_element("text", escape(name), x=LEFT - 6, y=y + 4, text_anchor="end"))
        for value, name in self.x.ticks:
            x = self.left(value)
            parts.append(_element("line", x1=x, x2=x, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="tick"))
            parts.append(_element("text", escape(name), x=x, y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(_label(self.plot.x.label, x=middle, y=HEIGHT - 6))
        height = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(_label(self.plot.y.label, x=12, y=height, transform=f"rotate(-90 12 {_number(height)})"))
        return _element("g", _joined(parts), class_="axes")

    def front(self) -> Markup:
        """Return the staircase through the corners, from the cheapest to the right edge."""
        if not self.plot.front:
            return Markup("")
        path = ""
        for x, y in self.plot.front:
            place = f"{_number(self.left(x))} {_number(self.down(y))}"
            path += f"H{_number(self.left(x))}V{_number(self.down(y))}" if path else f"M{place}"
        return _element("path", d=f"{path}H{WIDTH - RIGHT}", class_="front")

    def series(self, place: int, series: Series) -> Markup:
        """Return one series: its line, the intervals and the marks."""
        parts = []
        if series.joined and len(series.marks) > 1:
            points = " ".join(f"{_number(self.left(mark.x))},{_number(self.down(mark.y))}" for mark in series.marks)
            parts.append(_element("polyline", points=points))
        for mark in series.marks:
            parts += self.whiskers(mark)
        radius = 5 if not series.joined else 3.5 if len(series.marks) < 30 else 1.5
        for mark in series.marks:
            tooltip = _element("title", escape(f"{plain(series.name, 120)}: {self.values(mark)}"))
            parts.append(_element("circle", tooltip, cx=self.left(mark.x), cy=self.down(mark.y), r=radius))
        return _element("g", _joined(parts), class_=classes(series), data_s=place)

    def values(self, mark: Mark) -> str:
        """Return a mark's values in words."""
        names = dict(self.plot.x.names)
        return f"{self.plot.x.label} {names.get(mark.x, f'{mark.x:.4g}')}; {self.plot.y.label} {mark.y:.4g}"

    def whiskers(self, mark: Mark) -> Iterator[Markup]:
        """Yield the intervals of a mark."""
        x, y = self.left(mark.x), self.down(mark.y)
        if mark.across is not None:
            low, high = map(self.left, mark.across)
            yield _element("line", x1=low, x2=high, y1=y, y2=y, class_="whisker")
        if mark.upright is not None:
            low, high = map(self.down, mark.upright)
            yield _element("line", x1=x, x2=x, y1=low, y2=high, class_="whisker")

    def names(self) -> Iterator[Markup]:
        """Yield the names beside single marks, moved apart where they would touch."""
        if any(series.joined for series in self.plot.series) or len(self.plot.series) > NAMED:
            return
        drawn = [(self.left(one.marks[0].x), self.down(one.marks[0].y), one) for one in self.plot.series]
        drawn.sort(key=lambda item: (item[1], item[0]))
        sides = {True: [one for one in drawn if _rightwards(one, drawn)]}
        sides[False] = [one for one in drawn if one not in sides[True]]
        for rightwards, marks in sides.items():
            # Above the mark, clear of both intervals.
            heights = spread([y - 7 for _, y, _ in marks], LINE, TOP + 8, HEIGHT - BOTTOM - 4)
            for (x, _, series), height in zip(marks, heights, strict=True):
                yield _element(
                    "text",
                    escape(plain(series.name, int(_room(x, rightwards) // LETTER))),
                    x=x + (8 if rightwards else -8),
                    y=height,
                    text_anchor="start" if rightwards else "end",
                    class_=f"name t{series.tone % TONES}",
                )


def _rightwards(mark: tuple[float, float, Series], drawn: Sequence[tuple[float, float, Series]]) -> bool:
    """Say on which side of a mark its name goes: away from a neighbour at its height, if there is room."""
    x, y, series = mark
    length = LETTER * len(series.name)
    crowded = any(x < other < x + 8 + length + LINE and abs(height - y) < 2 * LINE for other, height, _ in drawn)
    fits = {side: length <= _room(x, side) for side in (True, False)}
    if fits[True] or fits[False]:
        return fits[True] and not (crowded and fits[False])
    return _room(x, True) >= _room(x, False)


def _room(x: float, rightwards: bool) -> float:
    """Return the width that a name has on one side of a mark."""
    return (WIDTH - x if rightwards else x - LEFT) - 8


def spread(places: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return ascending ``places`` moved as little as it takes to be ``apart`` and, if there is room, in bounds."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, low, moved[-1] + apart) if moved else max(place, low))
    ceiling = high
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], ceiling)
        ceiling = moved[place] - apart
    return moved


def _extent(plot: Plot, *, across: bool) -> Iterator[float]:
    for series in plot.series:
        for mark in series.marks:
            yield mark.x if across else mark.y
            yield from (mark.across if across else mark.upright) or ()


def _label(text: str, **where: object) -> Markup:
    return _element("text", escape(plain(text, 60)), text_anchor="middle", class_="label", **where)


def _element(_tag: str, _inside: str = "", **attributes: object) -> Markup:
    """Return an element; attribute values are escaped, what is inside is not: it is markup already."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-") if name != "viewBox" else name}="{escape(_number(value))}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{_tag}{written}>{_inside}</{_tag}>")  # noqa: S704 - made of escaped parts


def _number(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
