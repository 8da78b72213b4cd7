"""The house: which room may use which, that no file is in a circle, and that no name is borne twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"guard": "guard", "schemas": "guard.schemas", "kernels": "guard.kernels"}  #: folder → package

#: Rooms by floor, from the top. A room uses itself and what is on lower floors. `guard.errors` and `guard.settings` are
#: files that are rooms; `guard/__init__.py` only names what others have.
FLOORS = (
    ("guard", "guard.__main__", "guard.mypy"),
    ("cli",),
    ("testing", "sidecar", "integrations", "guard.mcp"),
    ("tuning",),
    ("batch",),
    ("calls",),
    ("turns",),
    ("trace",),
    ("models",),
    ("decoding", "guard.tools"),
    ("output",),
    ("guard.settings",),
    ("guard.errors", "guard.formats"),
    ("support",),
    ("schemas",),
    ("kernels",),
)
#: Arrows that run up, each with its reason.
ALLOWED = {
    (
        "guard.errors",
        "guard.trace.records",
    ): "an error carries its attempts: for type checkers alone",
    ("guard.formats", "guard.turns.deriving"): "from_chat_template, when it is called",
    ("guard.formats", "guard.turns.response_templates"): "from_response_template, when it is called",
    ("guard.formats", "guard.turns.tool_format"): "what it returns: for type checkers alone",
}


def modules() -> dict[str, Path]:
    """Return the source files by the names that they are imported by."""
    found = {}
    for folder, package in SOURCES.items():
        for suffix in ("*.py", "*.pyi"):
            for path in (ROOT / folder).rglob(suffix):
                parts = (package, *path.relative_to(ROOT / folder).with_suffix("").parts)
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports: at once, later, or for type checkers alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def graph() -> dict[str, set[str]]:
    known = modules()
    found = defaultdict(set)
    for name, path in known.items():
        found[name] = {one for one in imports(path, known) if one in known and one != name}
    return dict(found)


def room(module: str) -> str:
    """Return the room that a module is in: the folder below guard/, or the module itself where it is in none."""
    parts = module.split(".")
    is_folder = len(parts) > 1 and (parts[1] in SOURCES or (ROOT / "guard" / parts[1]).is_dir())
    return parts[1] if is_folder else module


def test_every_import_goes_down() -> None:
    floors = {name: -number for number, names in enumerate(FLOORS) for name in names}
    wrong = []
    for module, used in graph().items():
        for other in used:
            here, there = room(module), room(other)
            if here == "guard" or (module, other) in ALLOWED:
                continue  # the package's __init__ names what others have
            if here != there and floors[there] >= floors[here]:
                wrong.append(f"{module} -> {other}")
    assert not wrong


def test_no_file_is_in_a_circle() -> None:
    """The package's own __init__ is left out: it imports what it names when it is asked for."""
    arrows = {
        module: {other for other in used if (module, other) not in ALLOWED}
        for module, used in graph().items()
        if module != "guard"
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in sorted(arrows.get(module, ())):
            visit(other, (*path, module))
        done.add(module)

    for module in sorted(arrows):
        visit(module, ())


def test_nothing_in_the_package_imports_public_names_by_way_of_its_init() -> None:
    assert [module for module, used in graph().items() if "guard" in used and module != "guard"] == []


#: File names that may come twice: each room has one of its own.
COMMON = {"__init__", "errors", "settings"}


def test_no_file_name_comes_twice() -> None:
    seen = defaultdict(list)
    for path in modules().values():
        if path.stem not in COMMON:
            seen[path.stem].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in seen.items() if len(paths) > 1} == {}


def test_no_file_is_longer_than_700_lines() -> None:
    sizes = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules().items()}
    assert {name: size for name, size in sizes.items() if size > 700} == {}


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_every_room_that_has_a_floor_is_there(floor: int) -> None:
    known = modules()
    for name in FLOORS[floor]:
        assert name in known or f"guard.{name}" in known, name
