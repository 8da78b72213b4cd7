"""What `import guard` costs and offers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import guard

ROOT = Path(__file__).resolve().parents[2]


def _run(program: str) -> str:
    """Run a program as it runs anywhere: the second time its modules are compiled already."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env).stdout


def test_import_guard_loads_neither_torch_nor_transformers_nor_anything_else_that_is_heavy() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'pydantic', 'sqlalchemy', 'typer', 'rich', 'jsonschema_rs'}"
    assert _run(f"import guard, sys; print(sorted({heavy} & set(sys.modules)))") == "[]\n"


def test_a_structured_function_loads_neither_the_trace_nor_arrays_nor_http() -> None:
    """They take longer to import than all of Guard; who makes a call, a mask or a trace loads what it needs."""
    heavy = (
        "{'torch', 'numpy', 'sqlalchemy', 'jsonschema_rs', 'httpx2', 'openai', 'opentelemetry', 'stamina', 'typer', "
        "'pydantic_settings'}"
    )
    touched = "guard.structured, guard.Guard, guard.compile, guard.Vocabulary"
    assert _run(f"import guard, sys; {touched}; print(sorted({heavy} & set(sys.modules)))") == "[]\n"


def test_a_structured_function_loads_neither_formats_nor_what_inputs_state() -> None:
    rare = "{'guard.schemas.structural.forms', 'guard.schemas.structural.nets', 'guard.schemas.grounding.sources'}"
    assert _run(f"import guard, sys; guard.structured; print(sorted({rare} & set(sys.modules)))") == "[]\n"


def test_what_needs_no_local_model_loads_neither_torch_nor_transformers() -> None:
    program = (
        "import sys\n"
        "from guard import Guard, GuardError, SchemaError, Vocabulary, compile, structured, trace\n"
        "import guard.cli.app\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    assert _run(program) == "[]\n"


@pytest.mark.parametrize(("touched", "share"), [("guard", 0.02), ("guard.structured", 0.35)])
def test_import_guard_calls_a_fiftieth_of_the_functions_that_openais_sdk_calls_and_a_structured_function_a_third(
    touched: str, share: float
) -> None:
    """An import's time is mostly that of the functions that it calls; their number is the same on any machine."""

    def calls(program: str) -> int:
        counted = (
            "import sys; n = 0\n"
            "def count(frame, event, arg):\n global n\n n += event in ('call', 'c_call')\n"
            f"sys.setprofile(count); {program}; sys.setprofile(None); print(n)"
        )
        return int(_run(counted))

    assert calls(f"import guard; {touched}") < share * calls("import openai")


def test_every_public_name_is_there_and_listed() -> None:
    for name in guard.__all__:
        assert getattr(guard, name).__name__ == name
        assert name in dir(guard)


def test_every_module_of_the_reference_is_an_attribute_of_guard() -> None:
    """For a long time `guard.formats` was one only after somebody had imported it."""
    pages = (Path(guard.__file__).parents[1] / "docs" / "reference" / "api").glob("*.md")
    text = "\n".join(page.read_text() for page in pages)
    named = set(re.findall(r"^::: guard\.([a-z]\w*)\.", text, re.MULTILINE))
    assert {"formats", "kernels", "models"} <= named
    for name in sorted(named):
        assert _run(f"import guard; print(guard.{name}.__name__)").strip() in (f"guard.{name}", name)


def test_importing_modules_first_hides_no_public_name() -> None:
    """But for `guard.mypy`, a plugin that only mypy imports."""
    pytest.importorskip("torch")  # which guard.LogitsProcessor needs
    program = (
        "import importlib, pkgutil, guard\n"
        "for module in pkgutil.iter_modules(guard.__path__):\n"
        "    if module.name not in ('__main__', 'mypy'): importlib.import_module(f'guard.{module.name}')\n"
        "print([name for name in guard.__all__ if getattr(guard, name).__name__ != name])\n"
    )
    assert _run(program) == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(guard, "nonesuch")


def test_a_checkout_hides_no_package_named_kernels(tmp_path: Path) -> None:
    """Transformers imports Hugging Face's package `kernels`; the folder of that name here must not be taken for it."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("from . import part\n")
    (tmp_path / "kernels" / "part.py").write_text("theirs = 1\n")
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
        "import kernels, kernels.part, guard.kernels\n"
        "print(kernels.part.theirs, kernels.__file__, guard.kernels.__name__, guard.kernels.Vocabulary.__name__)"
    )
    theirs = tmp_path / "kernels" / "__init__.py"
    assert _run(program) == f"1 {theirs} guard.kernels Vocabulary\n"
