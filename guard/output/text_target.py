"""Answers that are not JSON: text without quotes, and the turns of a format (docs/formats.md).

A `Pattern` asks for such text from `str`; `style="text"` from a Literal, an Enum, or any other type that JSON writes as
a string. Masks allow the unquoted text, which is then checked as the JSON string would be. A format's turn is checked
by reading it.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from guard.errors import Finding, SchemaError, Unchecked, Violation
from guard.kernels.cached import cached_property
from guard.output.checking import NEAR_TEXT, Checked, Checker
from guard.support.clipping import clipped

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

    from guard.schemas.structural.compiled_format import CompiledFormat

#: Formats whose value is one text.
_TEXTS = frozenset({"const_string", "regex", "grammar", "any_text"})


def matching(pattern: str) -> dict[str, Any]:
    """Return the JSON Schema of the strings that the pattern matches as a whole."""
    from guard.schemas import regex

    # Parsed by itself as well: the pattern might close a group that it did not open.
    return {"type": "string", "allOf": [{"pattern": pattern}, {"pattern": regex.whole(pattern)}]}


@dataclass(frozen=True)
class Pattern:
    r"""What the whole text matches: `Annotated[str, guard.Pattern(r"[A-Z]{3}-\d{4}")]`; of ECMA-262, as in JSON Schema.

    As the type of an answer it asks for the bare text, without quotes. Inside of other types it holds a string.
    """

    pattern: str

    def __post_init__(self) -> None:
        from guard.schemas import regex

        if not isinstance(self.pattern, str):
            raise TypeError(f"Pattern({self.pattern!r}) must be the text of a regular expression")
        regex.parse(self.pattern)  # which raises a ValueError

    @cached_property
    def _validator(self) -> Any:
        from guard.output.judge import Judge, JudgedSchema

        return Judge(JudgedSchema(matching(self.pattern), "draft2020-12", True, {}), backtracks=True)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make Pydantic check strings."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the pattern to the JSON Schema."""
        return {**handler(core_schema["schema"]), "allOf": matching(self.pattern)["allOf"]}

    def _checked(self, text: str) -> str:
        from pydantic_core import PydanticKnownError

        if not self._validator.is_valid(text):
            raise PydanticKnownError("string_pattern_mismatch", {"pattern": self.pattern})
        return text

    _checked.is_in_schema = True  # type: ignore[attr-defined] # schemas/typed/generator.py asks for it


def is_bare(wanted: Any) -> bool:
    """Whether a type is a `str` with a pattern and nothing else."""
    return typing.get_origin(wanted) is Annotated and any(isinstance(one, Pattern) for one in wanted.__metadata__)


def as_format(schema: Any) -> dict[str, Any]:
    """Return the format of a schema's strings, without quotes."""
    return {"type": "json_schema", "json_schema": schema, "style": "text"}


class TextChecker(Checker):
    """Checks unquoted text as another checker checks the JSON string."""

    def __init__(self, inner: Checker) -> None:
        """`inner` checks the JSON string."""
        self._inner = inner

    def is_quick(self, text: str, *, mends: bool) -> bool:  # noqa: ARG002 - a text is never mended
        """See Checker; a text is never mended."""
        return self._inner.is_quick(json.dumps(text, ensure_ascii=False), mends=False)

    def near(self, text: str, *, mends: bool) -> Checked | None:  # noqa: ARG002 - a text is never mended
        """See Checker."""
        return self._inner.near(json.dumps(text, ensure_ascii=False), mends=False)

    def far(self, text: str, *, mends: bool, until: float | None = None) -> Checked:  # noqa: ARG002 - a text is never mended
        """See Checker."""
        return self._inner.far(json.dumps(text, ensure_ascii=False), mends=False, until=until)


class FormatChecker(Checker):
    """Checks a turn by reading it: O(bytes), so always near.

    The value of a format that is one text is that text; of any other, the parts that `Compiled.read` returns.
    """

    def __init__(self, compiled: CompiledFormat) -> None:
        """Prepare a check; SchemaError where the format names tokens, which an answer's text does not show."""
        for pointer, name in compiled.named_tokens():
            found = f"the token {name!r} is not to be seen in the text of an answer"
            raise SchemaError(Finding(pointer, "token", found, "write text around it, or decode with a matcher"))
        self._compiled, self._is_text = compiled, is_text(compiled.contents["format"])

    def is_quick(self, text: str, *, mends: bool) -> bool:  # noqa: ARG002 - a text is never mended
        """See Checker."""
        return len(text) <= NEAR_TEXT

    def near(self, text: str, *, mends: bool) -> Checked:  # noqa: ARG002 - a text is never mended
        """See Checker; a turn is never mended."""
        try:
            parts = self._compiled.read(text.encode(errors="replace"))
        except SchemaError as error:
            raise Unchecked(f"the answer could not be read: {error}") from None
        except ValueError as error:
            return Checked(None, (Violation("", "format", f"a text of the format ({error})", clipped(text)),))
        return Checked(text if self._is_text else parts, ())

    def far(self, text: str, *, mends: bool, until: float | None = None) -> Checked:  # noqa: ARG002 - a text is never mended
        """See Checker."""
        return self.near(text, mends=mends)


def is_text(form: Mapping[str, Any]) -> bool:
    """Whether a format is one text: a constant, a pattern, a grammar, free text, or a choice of these."""
    if form["type"] == "or":
        return all(map(is_text, form["elements"]))
    return form["type"] in _TEXTS or (form["type"] == "json_schema" and form["style"] == "text")
