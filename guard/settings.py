"""Settings: what a call does not say comes from the environment, then from guard.toml, then from here.

Environment variables are the names below with `GUARD_` before them (GUARD_MODEL, GUARD_TRACE …). guard.toml is read
from the working directory, else from the user's configuration folder; a program may name another file
(`Settings.of`).
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import platformdirs
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from guard.errors import SettingError
from guard.kernels.json_pointer import pointer
from guard.support.bounds import (
    LEAST_SEED,
    MOST_COUNT,
    MOST_DAYS,
    MOST_SECONDS,
    MOST_SEED,
    MOST_TEMPERATURE,
    not_bool,
    written,
)

#: What a number may be where a person sets one, of each kind.
Count = Annotated[int, BeforeValidator(not_bool), Field(ge=0, le=MOST_COUNT)]
Number = Annotated[float, BeforeValidator(not_bool), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(le=MOST_SECONDS)]


SERVE = "serve"  #: The table of guard.toml that is the sidecar's: guard/sidecar/settings.py.
PREFIX = "GUARD_"  #: Of the environment's variables that are settings.
#: Variables that begin so and are no settings of this module: of the cache, of tests, of builds, of the sidecar.
_OTHERS = frozenset({"GUARD_CACHE", "GUARD_DATA", "GUARD_HEAP", "GUARD_WERROR", "GUARD_SANITIZE", "GUARD_FUZZ"})
_log = logging.getLogger("guard")
_told: set[str] = set()  # variables about which the log was told


class FileSettings(BaseSettings):
    """Settings from a file, each overridden by an environment variable, and both by arguments."""

    @classmethod
    def _file_source(cls) -> PydanticBaseSettingsSource:
        """Return the source of the file's values."""
        raise NotImplementedError

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (pydantic-settings passes it: the class itself)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (Guard reads no .env files)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (nor folders of secrets)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first."""
        return init_settings, env_settings, cls._file_source()


class Settings(FileSettings):
    """The defaults of every call."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    model: str = Field(default="smollm2", min_length=1, description="the model asked")
    retries: Count = Field(default=2, description="re-asks after the first attempt")
    seed: Annotated[int, BeforeValidator(not_bool)] = Field(
        default=0, ge=LEAST_SEED, le=MOST_SEED, description="of sampling"
    )
    max_tokens: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="of each attempt's completion; None: 512, and more where they cut an answer"
    )
    temperature: Number = Field(default=0.0, ge=0, le=MOST_TEMPERATURE, description="0 is greedy")
    trace: str | None = Field(
        default=None, description="file of the trace, or postgresql:// URL; None: a file in the user's data folder"
    )
    trace_days: Annotated[Number, Field(gt=0, le=MOST_DAYS)] | None = Field(
        default=None, description="calls older than this go; None: none does"
    )
    trace_calls: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="so many of the newest calls stay; None: all do"
    )

    registry: str | None = Field(
        default=None, description="folder of tuned models; None: a folder in the user's data folder"
    )

    file: ClassVar[Path | None] = None  # in place of guard.toml where it is looked for

    @classmethod
    def load(cls, file: Path | None = None) -> Settings:
        """Read the settings as they stand now, or with another guard.toml; SettingError names the one that is wrong."""
        _check_names(file or cls.file or default_file(), {*cls.model_fields, SERVE})
        _check_environment({f"{PREFIX}{name.upper()}" for name in cls.model_fields})
        kind: Any = cls if file is None else type("Settings", (cls,), {"__annotations__": {}, "file": file})
        try:
            settings: Settings = kind()
        except ValidationError as error:
            first = error.errors()[0]
            name = pointer(first["loc"]).removeprefix("/")
            place = variable_of(f"{PREFIX}{name}") or _place(file or cls.file, name)
            words = worded(first["msg"], first["input"])
            joint = " " if words.startswith("must") else ": "
            said = name if name == "trace" else f"{name}={written(first['input'])}"  # a URL may hold a password
            raise SettingError(f"the setting {said} ({place}){joint}{words}") from None
        except (ValueError, RecursionError) as error:  # guard.toml is not TOML
            raise SettingError(f"guard.toml can't be read: {error}; correct it or remove it") from None
        return settings

    @classmethod
    @contextlib.contextmanager
    def of(cls, file: Path | None) -> Iterator[None]:
        """Have everything in this process read its settings from another guard.toml; None: from where it is found."""
        before, cls.file = cls.file, file
        try:
            yield
        finally:
            cls.file = before

    def trace_path(self) -> str:
        """Return the file or the URL of the trace."""
        return self.trace or str(platformdirs.user_data_path("guard", appauthor=False) / "trace.db")

    def registry_path(self) -> str:
        """Return the folder of tuned models."""
        return self.registry or str(platformdirs.user_data_path("guard", appauthor=False) / "models")

    @classmethod
    def _file_source(cls) -> PydanticBaseSettingsSource:
        return TomlConfigSettingsSource(cls, cls.file or default_file())


def default_file() -> Path:
    """Return where guard.toml is read from: the working directory, else the user's folder, where there may be none."""
    here = Path("guard.toml")
    return here if here.exists() else platformdirs.user_config_path("guard", appauthor=False) / "guard.toml"


def _check_names(file: Path, known: set[str]) -> None:
    """Raise SettingError where a file sets what there is not: it would be left out without a word."""
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:  # a folder, or a file that this user may not read: it would be left out
        raise SettingError(f"{file} can't be read: {error.strerror}; correct it or remove it") from None
    except (ValueError, RecursionError):
        return  # whoever reads it says so
    for name in said:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"; write {near[0]}" if near else f"; there are {_listed(known)}"
            raise SettingError(f"{_place(file, name)}: there is no setting {name}{advice}")


def _check_environment(known: set[str]) -> None:
    """Raise SettingError where a variable is nearly a setting's name; the log is told once of any other that is none.

    Other programs may have variables that begin like ours, so that these can't all be mistakes.
    """
    for name in os.environ:
        upper = name.upper()
        if (
            not upper.startswith(PREFIX)
            or upper in known
            or upper in _OTHERS
            or upper.startswith(f"{PREFIX}{SERVE.upper()}__")
        ):
            continue
        if near := difflib.get_close_matches(upper, known | _OTHERS, 1, cutoff=0.8):
            raise SettingError(f"the environment variable {name}: there is no such setting; did you mean {near[0]}?")
        tell_unknown(name, known)


def tell_unknown(name: str, known: Collection[str]) -> None:
    """Tell the log, once, of a variable that is no setting."""
    if name not in _told:
        _told.add(name)
        _log.warning("the environment variable %s is no setting of Guard's; there are %s", name, _listed(known))


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


#: What Pydantic calls a kind of value, and what it is called where settings are written.
_KINDS = {
    r"a valid tuple|a valid list": "a list",
    r"a valid dictionary( or (an )?instance of \w+)?": "a table",
    r"a valid string": "a text",
    r"a valid boolean.*": "true or false",
    r"a valid integer, unable to .*|a valid integer": "a whole number",
    r"a valid number, unable to .*|a valid number": "a number",
}


def variable_of(name: str) -> str | None:
    """Return the environment's variable of a name, in whichever capitals it is set; None where none is."""
    found = [each for each, value in os.environ.items() if each.upper() == name.upper() and value]
    return found[-1] if found else None  # the last one counts


def worded(message: str, given: Any = None) -> str:
    """Return what Pydantic says of a setting in words of ours: "must be at least 0".

    `given` is the value: of NaN it says that it is beyond a bound.
    """
    if str(given).strip().lower() in ("nan", "+nan", "-nan"):
        return "must be a finite number"
    message = message.removeprefix("Value error, ")
    should = re.fullmatch(r"\w+ should (.*)", message, re.DOTALL)
    if should is None:
        return message
    message = should[1].replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    message = message.replace("greater than", "above").replace("less than", "below")
    for kind, words in _KINDS.items():
        message = re.sub(kind, words, message)
    return f"must {message}"


def _place(file: Path | None, name: str) -> str:
    """Say where guard.toml has a setting."""
    try:
        line = line_of((file or default_file()).read_text(encoding="utf-8"), (name,))
    except (OSError, UnicodeDecodeError):
        line = None
    return "guard.toml" if line is None else f"guard.toml, line {line}"


def line_of(text: str, key: tuple[str, ...]) -> int | None:
    """Return the line of a TOML text, from 1, in which a key or a table is said; None where none is."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
            table = _keys(header[1])
            if table == key:
                return number
        elif (
            said := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line)
        ) and (table + _keys(said[1]) == key):
            return number
    return None


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", dotted))
