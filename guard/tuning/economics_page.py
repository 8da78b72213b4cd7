"""Precision against the share served, drawn: the curve of a model before and after, and what was served in fact."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard.trace.stats import Line, dollars

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 14, 44  #: Around the plot, in pixels.
BEFORE, AFTER = "#667085", "#2f6fde"
STYLE = (
    "body{font:15px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}svg{max-width:100%;height:auto}"
    "ul{list-style:none;padding:0}table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;text-align:left}"
    "td,th{border-bottom:1px solid #ddd}td.num,th.num{text-align:right}"
)


@dataclass(frozen=True)
class Curve:
    """Shares served with their precision, from the surest answers to all."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]  # share, precision
    is_marked: bool = False  # single points instead of a line


def curves(report: Mapping[str, Any]) -> list[Curve]:
    """Return the curves of a shadow report: the old model's and the new one's, and what thresholds keep."""
    found = []
    for side, name, colour in (("alone_before", report["old"], BEFORE), ("alone", report["new"], AFTER)):
        if (alone := report.get(side)) is not None:
            points = [(share, precision) for share, precision in alone["curve"]]
            found.append(Curve(str(name), colour, points))
    if (alone := report.get("alone")) is not None and alone.get("kept"):
        points = [(one["share"], one["precision"]) for one in alone["kept"] if one["share"]]
        found.append(Curve("at thresholds of the other half", AFTER, points, is_marked=True))
    return found


def of_lines(lines: Sequence[Line]) -> list[Curve]:
    """Return what was served alone in fact, by the model that was asked first, where answers were rated."""
    return [
        Curve(f"{line.model}, on record", "#12805c", [(line.alone / line.valid, line.precision)], is_marked=True)
        for line in lines
        if line.precision is not None and line.valid
    ]


def plot(drawn: Sequence[Curve]) -> str:
    """Return the plot as SVG, without a size of its own beyond its proportions."""
    marks = [
        f'<line x1="{_x(tick):.0f}" x2="{_x(tick):.0f}" y1="{_y(0):.0f}" y2="{_y(1):.0f}" stroke="#8884"></line>'
        f'<line x1="{_x(0):.0f}" x2="{_x(1):.0f}" y1="{_y(tick):.0f}" y2="{_y(tick):.0f}" stroke="#8884"></line>'
        f'<text x="{_x(tick):.0f}" y="{_y(0) + 16:.0f}" text-anchor=middle>{tick:.0%}</text>'
        f'<text x="{LEFT - 8}" y="{_y(tick) + 4:.0f}" text-anchor=end>{tick:.0%}</text>'
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for curve in drawn:
        if curve.is_marked:
            marks += [
                f'<circle cx="{_x(share):.1f}" cy="{_y(precision):.1f}" r=4 fill="{curve.colour}"></circle>'
                for share, precision in curve.points
            ]
        else:
            path = " ".join(f"{_x(share):.1f},{_y(precision):.1f}" for share, precision in curve.points)
            marks.append(f'<polyline points="{path}" fill=none stroke="{curve.colour}" stroke-width=2></polyline>')
    legend = "".join(
        f'<li style="color:{curve.colour}">{"●" if curve.is_marked else "━"} {html.escape(curve.name)}</li>'
        for curve in drawn
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role=img font-size=12 fill=currentColor'
        f' aria-label="precision against share served">{"".join(marks)}'
        f'<text x="{(_x(0) + _x(1)) / 2:.0f}" y="{HEIGHT - 8}" text-anchor=middle>share served alone</text>'
        f'<text transform="translate(14 {(_y(0) + _y(1)) / 2:.0f}) rotate(-90)" text-anchor=middle>precision</text>'
        f"</svg><ul>{legend}</ul>"
    )


def page(function: str, lines: Sequence[Line], report: Mapping[str, Any] | None) -> str:
    """Return a function's economics as a self-contained HTML page."""
    say = html.escape
    rows = "".join(
        f"<tr><td>{say(line.model)}</td>" + "".join(f"<td class=num>{say(cell)}</td>" for cell in cells(line)) + "</tr>"
        for line in lines
    )
    heads = "".join(f"<th class=num>{say(head)}</th>" for head in HEADS)
    drawn = [*([] if report is None else curves(report)), *of_lines(lines)]
    shown = plot(drawn) if drawn else "<p>No version was measured by guard shadow, and no answer was rated.</p>"
    return (
        f"<!doctype html><meta charset=utf-8><title>Economics of {say(function)}</title><style>{STYLE}</style>"
        f"<h1>Economics of {say(function)}</h1><h2>Precision against share served</h2>{shown}"
        f"<h2>By the model that was asked first</h2><table><tr><th>model</th>{heads}</tr>{rows}</table>\n"
    )


HEADS = ("calls", "valid", "served alone", "of them right", "cost", "per valid answer", "per right answer")


def cells(line: Line) -> tuple[str, ...]:
    """Return a line's figures in words, in the order of HEADS."""
    alone = f"{line.alone / line.valid:.1%}" if line.valid else ""
    right = "not rated" if line.alone else ""
    if line.precision is not None:
        right = f"{line.precision:.1%} of {line.alone_rated:,}"
    cost = "not known" if line.cost_unknown else dollars(line.cost)
    return (
        f"{line.calls:,}",
        f"{line.valid:,}",
        alone,
        right,
        cost,
        _each(line.cost_per_valid),
        _each(line.cost_per_right),
    )


def _each(value: float | None) -> str:
    return "not known" if value is None else dollars(value)


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _y(precision: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * precision
