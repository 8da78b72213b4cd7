"""`make clients`: every client with every feature, as a table; what went wrong goes to build/clients/report.json.

python -m clients                          all of them, from the folder tests
python -m clients --only anthropic --feature tools
python -m clients --here                   the same before SmolLM2, as far as what it says can be judged
python -m clients --docs                   write the table into docs/sidecar.md as well

Environments are made under build/clients where they are not there yet, one at a time; later runs use them again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from clients.run import BUILT, CLIENTS, SEEN, Client, Verdict, command, install, serving, serving_here, tried
from clients.upstream import Upstream

PAGE = BUILT.parents[1] / "docs" / "sidecar.md"
#: Of the tables: before an upstream, and before a model that decodes here.
_PLACES = [re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL) for name in ("clients", "clients here")]


def main() -> int:
    """Try, print, and write; exit code 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m clients", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only clients with this in their name")
    parser.add_argument("--feature", action="append", default=[], choices=list(SEEN), help="only these features")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/sidecar.md")
    parser.add_argument("--here", action="store_true", help="before SmolLM2, which decodes here")
    parser.add_argument("--list", action="store_true", help="say which clients there are")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that what was started is ended
    chosen = [client for client in CLIENTS if arguments.only in client.name]
    if arguments.list:
        print("\n".join(client.name for client in chosen))
        return 0
    found: dict[Client, list[Verdict]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        here = stack.enter_context(serving_here(Path(folder))) if arguments.here else None
        for number, client in enumerate(chosen, 1):
            print(f"{number}/{len(chosen)} {client.name}: ", end="", flush=True)
            install(client)
            if here is not None:
                found[client] = tried(here, command(client), *arguments.feature, is_here=True)
                _tell(found[client])
                continue
            place = Path(folder) / str(number)
            place.mkdir()
            upstream = Upstream()
            with serving(place, upstream) as sidecar:
                found[client] = tried(sidecar, command(client), *arguments.feature)
            _tell(found[client])
            for words in upstream.broken:
                print(f"  the upstream refused: {words[:300]}", flush=True)
    report = {client.name: [vars(verdict) for verdict in verdicts] for client, verdicts in found.items()}
    BUILT.mkdir(parents=True, exist_ok=True)
    (BUILT / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
    text = table(found)
    print(text)
    if arguments.docs:
        place = _PLACES[arguments.here]
        PAGE.write_text(place.sub(lambda place: f"{place[1]}\n{text}\n{place[2]}", PAGE.read_text()))
    return int(any(not (verdict.is_right or verdict.limit) for verdicts in found.values() for verdict in verdicts))


def _tell(verdicts: list[Verdict]) -> None:
    print(" ".join(verdict.mark for verdict in verdicts), flush=True)
    for verdict in verdicts:
        if not (verdict.is_right or verdict.limit):
            print(f"  {verdict.feature}: {verdict.words.splitlines()[0][:500]}", flush=True)


def table(found: dict[Client, list[Verdict]]) -> str:
    """Return what came of it as Markdown: a row for each client, a note for each limit."""
    features = [verdict.feature for verdict in next(iter(found.values()))]
    lines = [f"| client | version | {' | '.join(features)} |", "|---" * (len(features) + 2) + "|"]
    notes: list[str] = []
    for client, verdicts in found.items():
        marks = []
        for verdict in verdicts:
            if verdict.limit and verdict.limit not in notes:
                notes.append(verdict.limit)
            marks.append(verdict.mark + (f" {notes.index(verdict.limit) + 1}" if verdict.limit else ""))
        lines.append(f"| {client.name} | {version(client)} | {' | '.join(marks)} |")
    ends = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([*lines, *(["", "– is the client's own limit:", "", *ends] if ends else []), ""])


def version(client: Client) -> str:
    """Return which version of a client was tried."""
    folder = BUILT / client.environment
    if client.is_node:
        about = folder / "node_modules" / client.package / "package.json"
        return str(json.loads(about.read_text())["version"])
    name = re.split(r"[\[<>=]", client.package)[0]
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    python = str(folder / "bin" / "python")
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
