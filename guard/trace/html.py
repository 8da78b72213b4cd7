"""A call as one page of HTML: every attempt, its tokens coloured by the mass that masks removed, and its findings.

The page is self-contained, runs no script and fetches nothing (its own policy forbids both), so it can be mailed. All
text is escaped, control characters are shown as symbols, and right-to-left text stays inside its own box. The reader's
system chooses dark or light. The page works by keyboard and on a telephone, and a table says what the colours say.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

from guard.decoding import confidence
from guard.decoding.confidence import Token
from guard.decoding.places import listed
from guard.support.clipping import cut_short
from guard.support.moments import in_utc
from guard.trace.marks import marks_of
from guard.trace.records import VALID, Attempt, Call

MOST_PLACES = 5  #: Places of one value that are listed; all are marked.
LONGEST_VALUE = 60  #: Characters of an alternative that are shown.
SHADES = 10  #: Steps of colour, from nothing removed to everything.

#: The colours of everything that Guard shows in a browser, and the marks of what an input states.
PALETTE = """
:root { color-scheme: light dark; --ink: #1b1d21; --quiet: #5c636e; --paper: #fff; --box: #f5f6f8; --line: #d5d9df;
  --hot: #e8590c; --most: 63%; --good: #1a7f37; --bad: #b42318; --forced: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --quiet: #9aa3ae; --paper: #15171b; --box: #1e2126;
  --line: #363b43; --hot: #ff8a4c; --most: 50%; --good: #57c777; --bad: #ff8b7e; --forced: #79b0ff; } }
mark { background: color-mix(in srgb, var(--forced) 25%, transparent); color: inherit; border-radius: 2px; }
"""
STYLE = (
    PALETTE
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 0 0 .75rem; }
h3 { font-size: .95rem; margin: 1rem 0 .25rem; color: var(--quiet); } aside > h3:first-child { margin-top: 0; }
a, summary { color: inherit; } summary { cursor: pointer; color: var(--quiet); }
:focus-visible { outline: 3px solid var(--forced); outline-offset: 2px; border-radius: 3px; }
pre { margin: 0; padding: .75rem; background: var(--box); border: 1px solid var(--line); border-radius: 6px;
  font: 14px/1.75 ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; unicode-bidi: isolate; }
.scroll { overflow-x: auto; max-height: 24rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .75rem; margin: 0; font-size: .9rem; }
dt { color: var(--quiet); white-space: nowrap; } dd { margin: 0; font-variant-numeric: tabular-nums; }
header, article { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin-bottom: 1rem; }
header dl { grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }
header dl div { display: flex; gap: .5rem; }
.columns { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); gap: 1.25rem; }
@media (max-width: 48rem) { .columns { grid-template-columns: minmax(0, 1fr); } body { padding: .5rem; } }
.good { color: var(--good); } .bad { color: var(--bad); }
ul { margin: 0; padding-left: 1.1rem; font-size: .9rem; } li { margin-bottom: .4rem; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .1rem .5rem; border-bottom: 1px solid var(--line); white-space: pre; }
th:nth-child(2), td:nth-child(2) { text-align: left; font-family: ui-monospace, monospace; }
.t { border-radius: 2px; unicode-bidi: isolate; } .t.f { text-decoration: underline dotted 2px var(--forced);
  text-underline-offset: 4px; }
.t.e::before { content: "·"; color: var(--quiet); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; align-items: center; font-size: .85rem;
  color: var(--quiet); margin: 0 0 1rem; }
.legend .t:empty { display: inline-block; width: 1.1rem; height: 1rem; vertical-align: -2px; }
"""
)
#: The rest of the style of a call's page.
SHADED = "\n".join(
    f".r{n} {{ background: color-mix(in srgb, var(--hot) calc(var(--most) * {n / (SHADES - 1):.3f}), transparent); }}"
    for n in range(1, SHADES)
)
#: The content security policy: no scripts, pictures or requests, only the style above.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, style: str, inner: str) -> str:
    """Return a page that fetches and runs nothing. `inner` is HTML, the title is text."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
{inner}
</body>
</html>
"""


def page(call: Call, asked: Mapping[str, Any] | None = None) -> str:
    """Return the page of a call. `asked` is its schema, as `TraceStore.schema` returns it."""
    title = f"Call {call.number}: {call.function or call.target}"
    many = len(call.attempts) > 1
    kept = {"policy": dict(call.options), **({"asked for": asked} if asked else {})}
    options = _folded("Policy and schema", _pre(json.dumps(kept, indent=2, ensure_ascii=False)))
    inner = f"""<header>
<h1>{escaped(title)}</h1>
<p class="{"good" if call.outcome == VALID else "bad"}">{escaped(_outcome(call))}</p>
<dl>{_facts(call)}</dl>
{options}
{_contents(call) if many else ""}
</header>
{_LEGEND if any(a.reply and a.reply.tokens for a in call.attempts) else ""}
<main>
{"".join(_attempt(attempt) for attempt in call.attempts)}
</main>"""
    return document(title, SHADED, inner)


_LEGEND = (
    '<p class="legend" role="note"><span>Share of the probability that the mask removed: 0% '
    + "".join(f'<span class="t r{n}"></span>' for n in range(SHADES))
    + ' 100%</span><span><span class="t f">abc</span> forced: the schema alone determined it</span>'
    '<span><span class="t e"></span> part of a character that a later token ends</span></p>'
)


def _outcome(call: Call) -> str:
    count = f"{len(call.attempts)} attempt{'' if len(call.attempts) == 1 else 's'}"
    left = f"; escalated for {', '.join(call.escalations)}" if call.escalations else ""
    return f"{call.outcome} after {count}{left}" + (f": {call.error}" if call.error else "")


def _facts(call: Call) -> str:
    return "".join(
        f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in (
            ("began", in_utc(call.started, " UTC")),
            ("took", f"{call.seconds:.3f} s"),
            ("type", call.target),
            ("model asked", call.model),
            ("answered by", call.served or "none"),
            ("cost", _dollars(call.cost)),
            (
                "tokens",
                f"{call.prompt_tokens:,} + {call.completion_tokens:,}, {call.forced_tokens:,} forced"
                + ", partly estimated" * call.is_estimate,
            ),
            ("in masks", f"{call.mask_seconds * 1e3:.1f} ms of {call.model_seconds * 1e3:.1f} ms"),
            ("template", call.template or "the caller's"),
            ("schema", call.schema_hash[:12]),
        )
    )


def _contents(call: Call) -> str:
    links = "".join(f'<li><a href="#attempt-{a.number}">{escaped(_heading(a))}</a></li>' for a in call.attempts)
    return f'<nav aria-label="Attempts"><h3>Attempts</h3><ul>{links}</ul></nav>'


def _heading(attempt: Attempt) -> str:
    return f"Attempt {attempt.number}: {attempt.model or 'the model'}, tier {attempt.tier}, {_verdict(attempt)}"


def _verdict(attempt: Attempt) -> str:
    return attempt.reason or ("error" if attempt.reply is None else "invalid" if attempt.findings else "valid")


def _attempt(attempt: Attempt) -> str:
    verdict = "good" if _verdict(attempt) == "valid" else "bad"
    return f"""<article id="attempt-{attempt.number}" aria-labelledby="h-{attempt.number}">
<h2 id="h-{attempt.number}" class="{verdict}">{escaped(_heading(attempt))}</h2>
<div class="columns">
<div>
{_asked(attempt)}
{_answer(attempt)}
</div>
<aside aria-label="What was found and what it took">
{_found(attempt)}
<h3>Took</h3>
<dl>{_figures(attempt)}</dl>
</aside>
</div>
</article>
"""


def _asked(attempt: Attempt) -> str:
    marks = marks_of(attempt)
    messages = "".join(
        f"<h3>{escaped(m.get('role', ''))}</h3><pre>\n{_marked(_content(m), marks.get(index, []))}</pre>"
        for index, m in enumerate(attempt.messages)
    )
    count = f"{len(attempt.messages)} message{'' if len(attempt.messages) == 1 else 's'}"
    return _folded(f"Asked: {count}", messages, is_open=bool(marks)) if messages else ""


def _marked(text: str, marks: list[tuple[int, int, str]]) -> str:
    """Return a text as HTML with its marks. A mark that overlaps an earlier one begins behind it."""
    out, at = [], 0
    for start, end, values in marks:
        if end <= at:
            continue
        start = max(start, at)
        out += [escaped(text[at:start]), f'<mark title="{escaped(values)}">{escaped(text[start:end])}</mark>']
        at = end
    return "".join(out) + escaped(text[at:])


def _content(message: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    return text + ("\n" + json.dumps(rest, indent=2, ensure_ascii=False) if rest else "")


def _answer(attempt: Attempt) -> str:
    reply = attempt.reply
    if reply is None:
        return f"<h3>Error</h3>{_pre(attempt.error)}"
    thought = _folded(f"Thought: {reply.thinking_tokens:,} tokens", _pre(reply.thinking)) if reply.thinking else ""
    spelled = "".join(token.text for token in reply.tokens)
    tokens = ""
    if reply.tokens:
        spans = "".join(map(_span, reply.tokens)) if spelled else escaped(reply.text)
        tokens = f"<pre>{spans}</pre>{_folded(f'Tokens: {len(reply.tokens):,}', _table(reply.tokens))}"
    # Where the tokens do not spell the whole text, the text is shown as well.
    text = _pre(reply.text or " ") if not tokens or (spelled and reply.text not in spelled) else ""
    mended = "" if attempt.repaired is None else f"<h3>Mended</h3>{_pre(attempt.repaired)}"
    heading = "Answer, cut off" if reply.finish == "cut" else "Answer"
    return f"{thought}<h3>{heading}</h3>{tokens}{text}{mended}"


def _span(token: Token) -> str:
    shade = min(SHADES - 1, max(0, round(token.removed * (SHADES - 1))))
    kind = f"t r{shade}{' f' if token.forced else ''}{'' if token.text else ' e'}"
    return f'<span class="{kind}" title="{escaped(_told(token))}">{escaped(token.text)}</span>'


def _told(token: Token) -> str:
    if token.forced:
        return "forced"
    margin = "the only one allowed" if token.margin is None else f"margin {token.margin:.2f}"
    return f"{token.removed:.1%} removed, logprob {token.logprob:.2f}, {margin}"


def _table(tokens: Iterable[Token]) -> str:
    rows = "".join(
        f"<tr><td>{number}</td><td>{escaped(json.dumps(token.text, ensure_ascii=False))}</td>"
        f"<td>{token.removed:.1%}</td>"
        f"<td>{token.logprob:.3f}</td><td>{'' if token.margin is None else f'{token.margin:.3f}'}</td>"
        f"<td>{'forced' if token.forced else ''}</td></tr>"
        for number, token in enumerate(tokens, 1)
    )
    head = "<tr><th>no</th><th>text</th><th>removed</th><th>logprob</th><th>margin</th><th></th></tr>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Tokens"><table>{head}{rows}</table></div>'


def _found(attempt: Attempt) -> str:
    out = "".join(
        f"<li><b>{escaped(f.at or '(root)')}</b>: expected {escaped(f.expected)}, got {escaped(f.got)}"
        f" <small>({escaped(f.rule)})</small></li>"
        for f in attempt.findings
    )
    out = f"<h3>Findings</h3><ul>{out}</ul>" if out else ""
    places = "".join(
        f"<li><b>{escaped(at or '(root)')}</b> stands in "
        + escaped(", ".join(f"{place.input}[{place.start}:{place.end}]" for place in found[:MOST_PLACES]))
        + (f" and {len(found) - MOST_PLACES} more places" if len(found) > MOST_PLACES else "")
        + "</li>"
        for at, found in attempt.sources.items()
    )
    out += f"<h3>Where it stands</h3><ul>{places}</ul>" if places else ""
    others = attempt.reply.alternatives if attempt.reply is not None else {}
    chances = "".join(
        f"<li><b>{escaped(at or '(root)')}</b>: {chance:.2f}"
        + escaped("".join(f", or {_short(one.value)} {one.confidence:.2f}" for one in others.get(at, ())))
        + "</li>"
        for at, chance in attempt.confidence.items()
    )
    out += _folded("Probability of each value", f"<ul>{chances}</ul>") if chances else ""
    edits = "".join(
        f"<li>{escaped(e.kind)} at {escaped(e.at)}: {escaped(json.dumps(e.removed, ensure_ascii=False))} became "
        f"{escaped(json.dumps(e.inserted, ensure_ascii=False))}</li>"
        for e in attempt.repairs
    )
    out += f"<h3>Repairs</h3><ul>{edits}</ul>" if edits else ""
    if attempt.error and attempt.reply is not None:
        out += f"<h3>Not taken</h3><p>{escaped(attempt.error)}</p>"
    return out


def _short(value: Any) -> str:
    return cut_short(json.dumps(value, ensure_ascii=False), LONGEST_VALUE)


def _figures(attempt: Attempt) -> str:
    facts = [("time", f"{attempt.seconds:.3f} s")]
    if reply := attempt.reply:
        sure = confidence.measured(reply.tokens)
        facts += [
            ("answered by", reply.model),
            ("ended", reply.finish),
            ("held by", reply.mode),
            ("tokens", f"{reply.prompt_tokens:,} + {reply.completion_tokens:,}{', estimated' * reply.is_estimate}"),
            ("of these forced", f"{reply.forced_tokens:,}"),
            ("in masks", f"{reply.mask_seconds * 1e3:.1f} ms of {reply.seconds * 1e3:.1f} ms"),
            ("cost", "none: it was looked up" if reply.is_kept else _dollars(reply.cost)),
        ]
        if reply.cut_at:
            facts.append(("cut by max_tokens", listed(reply.cut_at)))
        if reply.repeated_at:
            facts.append(("says the same over and over", listed(reply.repeated_at)))
        if reply.retries:
            facts.append(("transport retries", str(reply.retries)))
        if sure is not None:
            facts += [("mean logprob", f"{sure.logprob:.3f}"), ("mean removed", f"{sure.removed:.1%}")]
            if sure.margin is not None:
                facts.append(("least margin", f"{sure.margin:.3f}"))
        if reply.sureness is not None:
            facts.append(("right among those as sure", f"{reply.sureness.precision:.1%}"))
            facts += [(f"{at or 'the value'} right", f"{p:.1%}") for at, p in reply.sureness.probabilities.items()]
    return "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in facts)


def _dollars(cost: float | None) -> str:
    return "not known" if cost is None else f"${cost:.6f}".rstrip("0").rstrip(".")


def _folded(summary: str, inner: str, *, is_open: bool = False) -> str:
    return f"<details{' open' * is_open}><summary>{escaped(summary)}</summary>{inner}</details>"


def _pre(text: str) -> str:
    # HTML drops a newline at the beginning of <pre>; this one is dropped in place of the text's own.
    return f"<pre>\n{escaped(text)}</pre>"


#: Characters that HTML can't hold: control characters become their pictures, surrogates U+FFFD.
_SHOWN = {n: 0x2400 + n for n in range(32) if chr(n) not in "\n\t"} | {0x7F: 0x2421}
_SHOWN |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD) | dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)


def escaped(value: object) -> str:
    """Return a value as text for a page, escaped."""
    return html.escape(str(value).translate(_SHOWN), quote=True)
