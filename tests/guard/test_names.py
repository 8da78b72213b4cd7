"""A name means one thing: no class and no file of the package has the name of another."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("guard", "schemas", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))]

#: Names that several folders may have, since each says the same of its own: what it holds, its errors, its settings.
SHARED = {"__init__.py", "errors.py", "settings.py"}


def test_no_file_has_the_name_of_another() -> None:
    names = Counter(path.name for path in SOURCES if path.name not in SHARED)
    assert [name for name, count in names.items() if count > 1] == []


def test_no_class_has_the_name_of_another() -> None:
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_room_tells_of_its_files() -> None:
    """What its docstring names is there."""
    for init in sorted((ROOT / "guard").rglob("__init__.py")):
        named = re.findall(r"\b[\w]+\.py\b", ast.get_docstring(ast.parse(init.read_text())) or "")
        there = {path.name for path in init.parent.rglob("*.py")}
        assert [name for name in named if name not in there] == [], init
