"""Figures of an evaluation for people: their names, and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from guard.testing.evaluation import Comparison, Evaluation, Measure
from guard.testing.plots import as_svg
from guard.trace.html import document, escaped

COLUMNS = ("valid", "exact", "right", "reasks", "tokens", "seconds", "removed", "cost")
#: Readable names of figures.
TITLES = {"removed": "mask pressure", "right": "fields right", "cost": "US$", "reasks": "re-asks"}
_SHARES = ("valid", "exact", "right", "removed", "forced")
_OWN_STYLE = """svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px; } table { min-width: 40rem; }
th, td { vertical-align: top; } th:first-child, td:first-child { text-align: left; }
"""


def shown(name: str, measure: Measure | None) -> str:
    """Return a figure with its interval, or a dash where it is unknown."""
    if measure is None:
        return "–"
    if name in _SHARES:
        return f"{measure.mean:.1%} [{measure.low:.1%}, {measure.high:.1%}]"
    digits = 6 if name == "cost" else 2 if name in ("seconds", "reasks") else 0
    if measure.low == measure.high:  # equal in every case
        return f"{measure.mean:.{digits}f}" if measure.mean else "0"
    return f"{measure.mean:.{digits}f} [{measure.low:.{digits}f}, {measure.high:.{digits}f}]"


def page(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison]) -> str:
    """Return one page of HTML: figures, the plot, fields. It runs no script and fetches nothing."""
    head = _row(["schema", "model", "cases", *(TITLES.get(name, name) for name in COLUMNS)], "th")
    body = "".join(
        _row([e.schema, e.model, str(len(e.outcomes)), *(_in_two_lines(n, e.measures.get(n)) for n in COLUMNS)])
        for e in evaluations
    )
    words = "".join(f"<li>{escaped(f'{c.schema}: {c.words}')}</li>" for c in comparisons)
    names = list(dict.fromkeys((e.schema, name) for e in evaluations for name in e.fields))
    models = list(dict.fromkeys(e.model for e in evaluations))
    by = {(e.schema, e.model): e.fields for e in evaluations}
    fields = _row(["schema", "field", *models], "th") + "".join(
        _row([schema, name, *(shown("right", by.get((schema, model), {}).get(name)) for model in models)])
        for schema, name in names
    )
    inner = f"""<header><h1>Models compared</h1>{f"<ul>{words}</ul>" if words else ""}</header>
<main>
<article><h2>Figures, with 95% intervals</h2>{_table("Figures", head + body)}</article>
<article><h2>Plot</h2>{as_svg(evaluations)}</article>
{f"<article><h2>Right by field</h2>{_table('Fields', fields)}</article>" if names else ""}
</main>"""
    return document("guard test: models compared", _OWN_STYLE, inner)


def _in_two_lines(name: str, measure: Measure | None) -> str:
    return shown(name, measure).replace(" [", "\n[")


def _row(cells: Sequence[str], kind: str = "td") -> str:
    return "<tr>" + "".join(f"<{kind}>{escaped(cell)}</{kind}>" for cell in cells) + "</tr>"


def _table(label: str, rows: str) -> str:
    scrolled = f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(label)}">'
    return f"{scrolled}<table>{rows}</table></div>"
