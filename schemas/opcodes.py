"""The alphabet that the front end and the engine share, as a C++ header: kernels/cpu/support/opcodes.hpp.

`make opcodes` writes it down; tests/kernels/test_house.py checks that it is up to date.
"""

from __future__ import annotations

from enum import IntEnum

from guard.schemas import ops

_TEMPLATE = """\
// The alphabet that the front end and the engine share. Made from schemas/ops.py by `make opcodes`:
// change it there.
#pragma once
#include <cstdint>

namespace guard {{

// What an atom of a node says about a value. 0: nothing.
{op}

// What a node of a regex tree matches.
{rx}

namespace types {{  // the bits of Op::Type
{types}
}}  // namespace types

}}  // namespace guard
"""
_TYPES = ("NULL", "BOOLEAN", "NUMBER", "STRING", "ARRAY", "OBJECT", "INTEGER", "INTEGER_TEXT")


def header() -> str:
    """The text of the header."""
    bits = "\n".join(f"constexpr std::int32_t k{_camel(name)} = {getattr(ops, name)};" for name in _TYPES)
    return _TEMPLATE.format(op=_enum("Op", ops.Op), rx=_enum("Rx", ops.Rx), types=bits)


def _enum(name: str, members: type[IntEnum]) -> str:
    lines = [f"  {_camel(member.name)} = {member.value}," for member in members]
    return "\n".join([f"enum class {name} : std::uint8_t {{", *lines, "};"])


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


if __name__ == "__main__":
    print(header(), end="")
