"""Plots of evaluations: one row of panels for each schema, a bar with its interval for each model."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard.testing.evaluation import Evaluation

#: The panels: a figure's name, its title, and the factor of its unit.
_PANELS = (
    ("valid", "valid, %", 100.0),
    ("right", "fields right, %", 100.0),
    ("reasks", "re-asks", 1.0),
    ("tokens", "tokens", 1.0),
    ("seconds", "seconds", 1.0),
    ("removed", "mask pressure, %", 100.0),
)
_COLOURS = ("#1f6feb", "#e8590c", "#1a7f37", "#8250df", "#9a6700", "#57606a")


def write(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write the plot to a .png, .svg or .pdf file. Raises ValueError for another suffix."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{path} must end in .png, .svg or .pdf")
    _figure(evaluations).savefig(path, dpi=130, bbox_inches="tight")


def as_svg(evaluations: Sequence[Evaluation]) -> str:
    """Return the plot as an SVG element for an HTML page."""
    out = io.StringIO()
    _figure(evaluations).savefig(out, format="svg", bbox_inches="tight")
    text = out.getvalue()
    return text[text.index("<svg") :]


def _figure(evaluations: Sequence[Evaluation]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("a plot needs matplotlib: pip install 'guard-slm[testing]'") from None
    schemas = list(dict.fromkeys(e.schema for e in evaluations))
    models = list(dict.fromkeys(e.model for e in evaluations))
    shown = [panel for panel in _PANELS if any(panel[0] in e.measures for e in evaluations)]
    height = 0.55 * len(models) + 1.0
    figure = Figure(figsize=(2.5 * len(shown) + 1.5, height * len(schemas) + 0.5), layout="constrained")
    grid = figure.subplots(len(schemas), len(shown), squeeze=False)
    for row, schema in enumerate(schemas):
        mine = {e.model: e for e in evaluations if e.schema == schema}
        for column, (name, title, unit) in enumerate(shown):
            axes = grid[row][column]
            for at, model in enumerate(models):
                measure = mine[model].measures.get(name) if model in mine else None
                if measure is None or math.isnan(measure.mean):
                    axes.text(0, at, " not known", va="center", color="#57606a", fontsize=8)
                    continue
                value, low, high = (unit * part for part in (measure.mean, measure.low, measure.high))
                axes.barh(at, value, color=_COLOURS[at % len(_COLOURS)], height=0.62)
                error = [[max(0.0, value - low)], [max(0.0, high - value)]]
                axes.errorbar(value, at, xerr=error, color="#1b1d21", capsize=3, linewidth=1.2)
            axes.set_yticks(range(len(models)), models if column == 0 else [""] * len(models), fontsize=9)
            axes.set_ylim(len(models) - 0.4, -0.6)
            axes.set_xlim(left=0, right=105 if unit == 100.0 and name != "removed" else None)
            axes.tick_params(axis="x", labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            if row == 0:
                axes.set_title(title, fontsize=10)
            if column == 0:
                axes.set_ylabel(schema, fontsize=9)
    return figure
