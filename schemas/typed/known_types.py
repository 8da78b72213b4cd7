"""Types that check what they are given with code of their own, and of which it is known what that code takes.

Pydantic's schema of such a type names a function, not what it does; here is what it does. Of any other function nothing
is known: the generator says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from guard.schemas.string_formats import BYTE
from guard.schemas.typed import text_types

Schema: TypeAlias = dict[str, Any]

#: What is left to Pydantic, by the function that checks it.
_IN_FILES = "whether such a file is there is looked up when the answer is read"
BEYOND = {
    "PathType.validate_file": _IN_FILES,
    "PathType.validate_directory": _IN_FILES,
    "PathType.validate_new": _IN_FILES,
    "PathType.validate_socket": _IN_FILES,
    "ResolvedPathType.validate_file": _IN_FILES,
    "ResolvedPathType.validate_directory": _IN_FILES,
    "ResolvedPathType.validate_new": _IN_FILES,
    "import_string": "whether there is such a module or object is looked up when the answer is read",
    "pattern_either_validator": "that it is a pattern of Python's re",
    "pattern_str_validator": "that it is a pattern of Python's re",
    "pattern_bytes_validator": "that it is a pattern of Python's re",
    "apply_known_metadata.<locals>.val_func": "a predicate",
    "PaymentCardNumber.validate": "the check digit, by Luhn's algorithm",
    "ABARoutingNumber._validate": "the check digit",
    "ISBN._validate": "the check digit",
    "IBAN._validate": "the check digits",
    "PhoneNumber._validate": "that the number is one of its country's numbering plan",
    "MimeType._validate": "that the type is registered",
    "CronStr.validate": "what cron-converter makes of it",
}


#: Packages whose functions and types the generator knows.
_OWN = frozenset(("pydantic", "pydantic_core", "ipaddress", "pathlib"))


def function_of(schema: Mapping[str, Any]) -> Any:
    """Return the function of a core schema that has one, out of any partial; None where it has none."""
    function = schema.get("function")
    function = function.get("function") if isinstance(function, Mapping) else function
    while isinstance(function, functools.partial):
        function = function.func
    return function


def name_of(function: Any) -> str:
    """Return what a person calls a function by."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def is_pydantic(function: Any) -> bool:
    """Say whether a function is of Pydantic's own machinery, of which it is known what it does."""
    module = getattr(function, "__module__", "") or ""
    return module.split(".")[0] in _OWN


def schema_of(schema: Mapping[str, Any], found: Schema) -> Schema | None:
    """Return what a type's own code takes, as keywords of a schema; None where that is not known.

    `schema` is the core schema with the function, `found` what Pydantic says of it.
    """
    function = function_of(schema)
    how = _BY_FUNCTION.get(name_of(function)) if function is not None else None
    if how is not None and (getattr(function, "__module__", "") or "").split(".")[0] in (
        "pydantic",
        "pydantic_extra_types",
    ):
        return how(schema, found)
    known = _BY_FORMAT.get(found.get("format", ""))
    return known(schema, found) if known is not None else None


def is_told_by_core(schema: Mapping[str, Any]) -> bool:
    """Say whether a type's core schema says more than the type's own JSON schema does."""
    functions = schema.get("metadata", {}).get("pydantic_js_functions", ())
    return any(name_of(function) in _LOOSE for function in functions)


def _pattern(source: str, **more: Any) -> Callable[[Mapping[str, Any], Schema], Schema]:
    return lambda _schema, _found: {"type": "string", "pattern": text_types.whole(source), **more}


def _encoded(alphabet: str) -> Callable[[Mapping[str, Any], Schema], Schema]:
    def of(schema: Mapping[str, Any], _found: Schema) -> Schema:
        is_text = schema.get("schema", {}).get("type") == "str"
        return {"type": "string", "pattern": text_types.whole(text_types.base64(alphabet, ascii_only=is_text))}

    return of


def _zones(_schema: Mapping[str, Any], _found: Schema) -> Schema:
    import zoneinfo

    return {"type": "string", "enum": sorted(zoneinfo.available_timezones())}


#: Where types describe themselves more loosely than their core schemas do.
_LOOSE = frozenset(("Latitude.__get_pydantic_json_schema__", "Longitude.__get_pydantic_json_schema__"))
_ADDRESS = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}

_BY_FORMAT: dict[str, Callable[[Mapping[str, Any], Schema], Schema]] = {
    "ipv4": lambda *_: {"type": "string", "format": "ipv4"},
    "ipv6": lambda *_: {"type": "string", "format": "ipv6"},
    "ipv4interface": _pattern(text_types.IPV4_INTERFACE),
    "ipv6interface": _pattern(text_types.IPV6_INTERFACE),
    "ipv4network": _pattern(text_types.IPV4_NETWORK),
    "ipv6network": _pattern(text_types.IPV6_NETWORK),
    "ipvanyaddress": lambda *_: _ADDRESS,
    "ipvanyinterface": _pattern(f"{text_types.IPV4_INTERFACE}|{text_types.IPV6_INTERFACE}"),
    "ipvanynetwork": _pattern(f"{text_types.IPV4_NETWORK}|{text_types.IPV6_NETWORK}"),
    "zoneinfo": _zones,
    "base64": _encoded("+/"),
    "base64url": _encoded("_-"),
}


# ---- by the function that checks ----

_HEX_COLOR = "#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})"
_THREE = ", ".join([BYTE] * 3)
_ALPHA = "(?:0(?:\\.[0-9]{1,2})?|1)"
_RGB = f"rgb\\({_THREE}\\)|rgba\\({_THREE}, {_ALPHA}\\)"
_MAC = "[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}(?:(?::[0-9a-fA-F]{2}){2}(?:(?::[0-9a-fA-F]{2}){12})?)?"
#: Crockford's base 32; the first character of 26 holds three bits.
_ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_DOMAIN = "(?=.{1,253}$)(?:(?!-)[a-z0-9-]{1,63}(?<!-)\\.)+(?:[a-z]{2,63}|xn--[a-z0-9]{2,59})"


def _color(_schema: Mapping[str, Any], _found: Schema) -> Schema:
    from pydantic_extra_types.color import COLORS_BY_NAME

    return {"type": "string", "pattern": text_types.whole("|".join((*sorted(COLORS_BY_NAME), _HEX_COLOR, _RGB)))}


def _countries(field: str) -> Callable[[Mapping[str, Any], Schema], Schema]:
    def of(_schema: Mapping[str, Any], _found: Schema) -> Schema:
        import pycountry

        return {"type": "string", "enum": sorted(getattr(country, field) for country in pycountry.countries)}

    return of


def _languages(field: str) -> Callable[[Mapping[str, Any], Schema], Schema]:
    def of(_schema: Mapping[str, Any], _found: Schema) -> Schema:
        import pycountry

        known = (getattr(language, field, None) for language in pycountry.languages)
        return {"type": "string", "enum": sorted({name for name in known if name})}

    return of


def _listed(_schema: Mapping[str, Any], found: Schema) -> Schema:
    return {"type": "string", "enum": found["enum"]} if "enum" in found else found


def _epoch(_schema: Mapping[str, Any], found: Schema) -> Schema:
    return {"type": found["type"], "minimum": -62135596800, "maximum": 253402300799}


def _same(_schema: Mapping[str, Any], found: Schema) -> Schema:
    return found


_BY_FUNCTION: dict[str, Callable[[Mapping[str, Any], Schema], Schema]] = {
    "EmailStr._validate": _pattern(text_types.EMAIL, format="email"),
    "NameEmail._validate": _pattern(text_types.NAME_EMAIL),
    "ByteSize._validate": lambda *_: {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": text_types.whole(text_types.BYTE_SIZE)},
        ]
    },
    "Color._validate": _color,
    "MacAddress._validate": _pattern(_MAC),
    "ULID._validate_ulid": _pattern(_ULID),
    "DomainStr.validate": _pattern(_DOMAIN),
    "CountryAlpha2._validate": _countries("alpha_2"),
    "CountryAlpha3._validate": _countries("alpha_3"),
    "CountryNumericCode._validate": _countries("numeric"),
    "CountryShortName._validate": _countries("name"),
    "LanguageAlpha2._validate": _languages("alpha_2"),
    "LanguageName._validate": _languages("name"),
    "ISO639_3._validate": _listed,
    "ISO639_5._validate": _listed,
    "ISO4217._validate": _listed,
    "Currency._validate": _listed,
    "ISO_15924._validate": _listed,
    "TimeZoneName._validate": _listed,
    "_Base._validate": _epoch,
    "S3Path._validate": _same,
    "DateTime._validate": _same,
    "Date._validate": _same,
    "Time._validate": _same,
    "Duration._validate": _same,
    "SemanticVersion.__get_pydantic_core_schema__.<locals>.validate_from_str": _same,
}
