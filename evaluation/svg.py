"""Small charts as inline SVG. Colours come from the page's style sheet, by class, so dark mode holds for them too."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 14, 44


@dataclass(frozen=True)
class Series:
    """A line of a chart: (x, y) points and the style sheet's class that colours it."""

    name: str
    points: Sequence[tuple[float, float]]
    css: str
    marks: bool = False


@dataclass(frozen=True)
class Dot:
    """A point of a scatter plot: class and text on hover. The class `ring` draws it as a ring."""

    x: float
    y: float
    css: str
    title: str


@dataclass(frozen=True)
class Span:
    """A figure with its interval (nan where it has none): class and text on hover."""

    value: float
    low: float
    high: float
    css: str
    title: str


def line_chart(series: Sequence[Series], x_label: str, y_label: str, width: int = 720, height: int = 280) -> Markup:
    """Lines over a shared pair of axes; points that are not finite are left out."""
    drawn = [(one, [point for point in one.points if all(map(math.isfinite, point))]) for one in series]
    points = [point for _, finite in drawn for point in finite]
    chart = _chart(width, height, f"{y_label} over {x_label}")
    if not points:
        _text(chart, width / 2, height / 2, "nothing to draw", "middle")
        return _markup(chart)
    x_ticks = _ticks(min(x for x, _ in points), max(x for x, _ in points))
    y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
    across = _scale(x_ticks[0], x_ticks[-1], _LEFT, width - _RIGHT)
    down = _scale(y_ticks[0], y_ticks[-1], height - _BOTTOM, _TOP)
    for tick in y_ticks:
        _line(chart, _LEFT, down(tick), width - _RIGHT, down(tick), "grid")
        _text(chart, _LEFT - 8, down(tick) + 4, f"{tick:,g}", "end")
    for tick in x_ticks:
        _text(chart, across(tick), height - _BOTTOM + 18, f"{tick:,g}", "middle")
    _text(chart, (_LEFT + width - _RIGHT) / 2, height - 6, x_label, "middle", "axis")
    label = _text(chart, 14, (_TOP + height - _BOTTOM) / 2, y_label, "middle", "axis")
    label.set("transform", f"rotate(-90 14 {_round((_TOP + height - _BOTTOM) / 2)})")
    for one, finite in drawn:
        places = [(across(x), down(y)) for x, y in finite]
        path = " ".join(f"{_round(x)},{_round(y)}" for x, y in places)
        SubElement(chart, "polyline", {"points": path, "class": f"line {one.css}"})
        for (x, y), (step, value) in zip(places, finite, strict=True):
            if one.marks:
                _titled(_circle(chart, x, y, 3.5, f"mark {one.css}"), f"{one.name}: {value:.3f} at {step:,g}")
    return _markup(chart)


def scatter(dots: Sequence[Dot], label: str, width: int = 960, height: int = 560) -> Markup:
    """Points without axes, to fill the frame; the last ones lie on top. Each shows its title on hover."""
    chart = _chart(width, height, label)
    finite = [dot for dot in dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    if finite:
        across = _scale(min(dot.x for dot in finite), max(dot.x for dot in finite), 16, width - 16)
        down = _scale(min(dot.y for dot in finite), max(dot.y for dot in finite), height - 16, 16)
        for dot in finite:
            radius = 6.0 if "ring" in dot.css.split() else 3.2
            _titled(_circle(chart, across(dot.x), down(dot.y), radius, dot.css), dot.title)
    return _markup(chart)


def interval_chart(groups: Sequence[tuple[str, Sequence[Span]]], x_label: str, width: int = 860) -> Markup:
    """Dots with whiskers, a band of rows a group, on a shared axis; figures that are not finite are left out."""
    left, right, step, gap = 210, 30, 13, 12
    drawn = [(name, [span for span in spans if math.isfinite(span.value)]) for name, spans in groups]
    ends = [end for _, spans in drawn for one in spans for end in (one.value, one.low, one.high) if math.isfinite(end)]
    height = _TOP + sum(step * max(len(spans), 1) + gap for _, spans in drawn) + _BOTTOM
    chart = _chart(width, height, f"{x_label}, with intervals")
    if not ends:
        _text(chart, width / 2, height / 2, "nothing to draw", "middle")
        return _markup(chart)
    ticks = _ticks(min(ends), max(ends))
    across = _scale(ticks[0], ticks[-1], left, width - right)
    for tick in ticks:
        _line(chart, across(tick), _TOP, across(tick), height - _BOTTOM, "grid")
        _text(chart, across(tick), height - _BOTTOM + 18, f"{tick:,g}", "middle")
    _text(chart, (left + width - right) / 2, height - 6, x_label, "middle", "axis")
    y = _TOP + gap / 2
    for name, spans in drawn:
        _text(chart, left - 12, y + step * max(len(spans), 1) / 2 + 4, name, "end")
        for number, one in enumerate(spans):
            middle = y + step * (number + 0.5)
            if math.isfinite(one.low) and math.isfinite(one.high):
                _line(chart, across(one.low), middle, across(one.high), middle, f"whisker {one.css}")
            _titled(_circle(chart, across(one.value), middle, 4, f"mark {one.css}"), one.title)
        y += step * max(len(spans), 1) + gap
        _line(chart, 0, y - gap / 2, width - right, y - gap / 2, "grid")
    return _markup(chart)


def rank_strip(ranks: Sequence[int], total: int, width: int = 960, height: int = 84) -> Markup:
    """Ticks at the ranks 1 to `total`, on a logarithmic axis."""
    chart = _chart(width, height, f"ranks among {total}")
    end = math.log10(max(total, 2))
    across = _scale(0, end, 16, width - 16)
    _line(chart, 16, 46, width - 16, 46, "axis-line")
    for power in range(int(end) + 1):
        _line(chart, across(power), 46, across(power), 52, "axis-line")
        _text(chart, across(power), 70, f"{10**power:,}", "middle" if power else "start")
    for rank in ranks:
        x = across(math.log10(max(rank, 1)))
        _titled(_line(chart, x, 14, x, 46, "tick"), f"rank {rank:,} of {total:,}")
    return _markup(chart)


def bar(share: float) -> Markup:
    """A bar that fills `share` (0 to 1) of its cell."""
    chart = Element(
        "svg", {"class": "bar", "viewBox": "0 0 100 8", "preserveAspectRatio": "none", "aria-hidden": "true"}
    )
    filled = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    SubElement(chart, "rect", {"width": "100", "height": "8", "class": "track"})
    SubElement(chart, "rect", {"width": _round(max(filled, 0.5)), "height": "8", "class": "fill"})
    return _markup(chart)


def _chart(width: int, height: int, label: str) -> Element:
    return Element("svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": label, "class": "chart"})


def _markup(chart: Element) -> Markup:
    return Markup(tostring(chart, encoding="unicode"))


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover [low, high]."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * tick, 12) for tick in range(first, last + 1)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A linear map from [low, high] to [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / span


def _line(chart: Element, x1: float, y1: float, x2: float, y2: float, css: str) -> Element:
    ends = {"x1": _round(x1), "y1": _round(y1), "x2": _round(x2), "y2": _round(y2), "class": css}
    return SubElement(chart, "line", ends)


def _circle(chart: Element, x: float, y: float, radius: float, css: str) -> Element:
    return SubElement(chart, "circle", {"cx": _round(x), "cy": _round(y), "r": _round(radius), "class": css})


def _text(chart: Element, x: float, y: float, text: str, anchor: str, css: str = "tick-label") -> Element:
    node = SubElement(chart, "text", {"x": _round(x), "y": _round(y), "text-anchor": anchor, "class": css})
    node.text = text
    return node


def _titled(node: Element, title: str) -> None:
    SubElement(node, "title").text = title


def _round(value: float) -> str:
    return f"{value:.1f}"
