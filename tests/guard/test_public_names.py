"""The public names: which there are, that each is documented with its errors, and that private ones stay so."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import guard

PACKAGES = ("guard", "guard.formats", "guard.kernels", "guard.models", "guard.schemas", "guard.testing", "guard.trace")

#: What `import guard` offers. Whoever adds, renames or takes away a name does it here too, and in CHANGELOG.md.
PUBLIC = [
    "AsyncStream",
    "AsyncTurnStream",
    "Attempt",
    "BadReply",
    "Budget",
    "BudgetExceeded",
    "Call",
    "CallError",
    "Compiled",
    "Confidence",
    "Conversation",
    "ContentFiltered",
    "Finding",
    "Guard",
    "GuardError",
    "Limits",
    "LogitsProcessor",
    "Model",
    "ModelError",
    "Pattern",
    "Policy",
    "Quoted",
    "RateLimited",
    "Refused",
    "Reply",
    "Request",
    "Result",
    "SchemaError",
    "SettingError",
    "Stated",
    "Stream",
    "TimedOut",
    "TraceError",
    "Truncated",
    "Turn",
    "TurnCall",
    "TurnEvent",
    "TurnStream",
    "Unavailable",
    "Unchecked",
    "Unsupported",
    "ValidationFailed",
    "Violation",
    "Vocabulary",
    "amap",
    "arun_tools",
    "compile",
    "map",
    "run_tools",
    "structured",
]

#: What is raised further down than in the function's own lines, and so not found by looking at them.
ERRORS = {
    "guard.compile": ("SchemaError",),
    "guard.map": ("TypeError", "ValueError", "TraceError"),
    "guard.structured": ("CallError", "TypeError", "ValueError", "SchemaError"),
    "guard.Guard.generate": ("CallError", "SchemaError", "TraceError"),
    "guard.Vocabulary.from_bytes": ("ValueError",),
    "guard.models.load": ("ModelError",),
    "guard.models.pull": ("ModelError",),
    "guard.trace.TraceStore": ("TraceError",),
}


def members() -> Iterator[tuple[str, Any, str]]:
    """Yield every public function, class and method, by name, with the text that may tell of its errors."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value) or not _is_ours(value):
                continue
            text = inspect.getdoc(value) or ""
            yield f"{package}.{name}", value, text
            if not inspect.isclass(value):
                continue
            for below, method in vars(value).items():
                function = getattr(method, "__func__", getattr(method, "fget", method))
                is_public = below == "__init__" or not below.startswith("_")
                if is_public and inspect.isfunction(function) and _is_ours(function):
                    yield f"{package}.{name}.{below}", function, f"{text} {inspect.getdoc(function) or ''}"


def _is_ours(value: Any) -> bool:
    """Whether it is written in Guard, and in Python: the native module's documentation lives in its stubs."""
    module = getattr(value, "__module__", "")
    return module.startswith("guard") and module != "guard.kernels._native"


MEMBERS = {name: (value, text) for name, value, text in members()}


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(guard.__all__) == sorted(PUBLIC)
    hidden = [name for name in vars(guard) if not name.startswith("_")]
    modules = {module.name for module in pkgutil.iter_modules(guard.__path__)} | {"kernels", "schemas"}
    assert set(hidden) <= {*PUBLIC, *modules, "annotations", "TYPE_CHECKING", "lazy_names"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_had_and_is_listed(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("name", [name for name in MEMBERS if not name.endswith(".__init__")])
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(MEMBERS[name][0])


@pytest.mark.parametrize("name", MEMBERS)
def test_a_docstring_names_the_errors_that_are_raised(name: str) -> None:
    value, text = MEMBERS[name]
    raised = {*ERRORS.get(name, ()), *(() if inspect.isclass(value) else _raised(value))}
    assert {error for error in raised if error not in text} == set()


def _raised(function: Any) -> set[str]:
    """Return the classes of errors that a function raises in its own lines."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError):
        return set()
    made = (node.exc.func for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call))
    names = {called.id for called in made if isinstance(called, ast.Name)}
    told = {"AssertionError", "AttributeError", "NotImplementedError"}  # of Python's own protocols
    return {name for name in names if name[0].isupper()} - told


ROOT = Path(__file__).parents[2]


def _room(module: str) -> str:
    """Return the room of a module: a folder of guard/, or schemas or kernels; what lies in guard/ itself has none."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 or parts[1:2] in (["schemas"], ["kernels"]) else module


def test_no_room_imports_a_private_name_of_another() -> None:
    """But for `guard.kernels._native`, which is how the module that C++ is built into is called by custom."""
    found = []
    for folder in ("guard", "schemas", "kernels"):
        for file in (ROOT / folder).rglob("*.py"):
            path = file.relative_to(ROOT).with_suffix("")
            module = ".".join(path.parts if folder == "guard" else ("guard", *path.parts))
            tree = ast.parse(file.read_text(encoding="utf-8"))
            modules: dict[str, str] = {}  # by the name that they have in the file
            for node in ast.walk(tree):
                if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("guard"):
                    continue
                for name in node.names:
                    modules[name.asname or name.name] = f"{node.module}.{name.name}"
                    if (
                        name.name.startswith("_")
                        and name.name != "_native"
                        and _room(module) != _room(node.module or "")
                    ):
                        found.append(f"{module} imports {node.module}.{name.name}")
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                    owner = modules[node.value.id]
                    is_private = node.attr.startswith("_") and not node.attr.startswith("__") and node.attr != "_native"
                    if is_private and _room(module) != _room(owner):
                        found.append(f"{module} uses {owner}.{node.attr}")
    assert found == []


def test_fork_hooks_are_registered_in_one_place() -> None:
    """Where a system can't fork there are none, which one module knows."""
    sources = [file for folder in ("guard", "schemas", "kernels") for file in (ROOT / folder).rglob("*.py")]
    places = [file for file in sources if "register_at_fork" in file.read_text(encoding="utf-8")]
    assert places == [ROOT / "kernels" / "at_fork.py"]
