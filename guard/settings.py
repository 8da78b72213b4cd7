"""Settings: what a call does not say comes from the environment, then from guard.toml, then from here.

Environment variables are the names below with `GUARD_` before them (GUARD_MODEL, GUARD_TRACE …). guard.toml is read
from the working directory, else from the user's configuration folder.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar

import platformdirs
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from guard.errors import SettingError
from guard.kernels.json_pointer import pointer
from guard.support.bounds import MOST_COUNT, MOST_DAYS, MOST_SECONDS, MOST_TEMPERATURE, not_bool, written

#: What a number may be where a person sets one, of each kind.
Count = Annotated[int, BeforeValidator(not_bool), Field(ge=0, le=MOST_COUNT)]
Number = Annotated[float, BeforeValidator(not_bool), Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[Number, Field(le=MOST_SECONDS)]


SERVE = "serve"  #: The table of guard.toml that is the sidecar's: guard/sidecar/settings.py.


class Settings(BaseSettings):
    """The defaults of every call."""

    model_config = SettingsConfigDict(env_prefix="GUARD_", extra="ignore", frozen=True)

    model: str = Field(default="smollm2", min_length=1, description="the model asked")
    retries: Count = Field(default=2, description="re-asks after the first attempt")
    seed: Annotated[int, BeforeValidator(not_bool)] = Field(default=0, ge=-(2**63), lt=2**64, description="of sampling")
    max_tokens: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="of each attempt's completion; None: 512, and more where they cut an answer"
    )
    temperature: Number = Field(default=0.0, le=MOST_TEMPERATURE, description="0 is greedy")
    trace: str | None = Field(
        default=None, description="file of the trace, or postgresql:// URL; None: a file in the user's data folder"
    )
    trace_days: Annotated[Number, Field(gt=0, le=MOST_DAYS)] | None = Field(
        default=None, description="calls older than this go; None: none does"
    )
    trace_calls: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="so many of the newest calls stay; None: all do"
    )

    file: ClassVar[Path | None] = None  # in place of guard.toml where it is looked for

    @classmethod
    def load(cls, file: Path | None = None) -> Settings:
        """Read the settings as they stand now, or with another guard.toml; SettingError names the one that is wrong."""
        _check_names(file or default_file(), {*cls.model_fields, SERVE})
        kind: Any = cls if file is None else type("Settings", (cls,), {"__annotations__": {}, "file": file})
        try:
            settings: Settings = kind()
        except ValidationError as error:
            first = error.errors()[0]
            name = pointer(first["loc"]).removeprefix("/")
            raise SettingError(
                f"the setting {name}={written(first['input'])} (GUARD_{name.upper()} or {_place(file, name)}) is not"
                f" valid: {first['msg'].removeprefix('Value error, ')}"
            ) from None
        except (ValueError, RecursionError) as error:  # guard.toml is not TOML
            raise SettingError(f"guard.toml can't be read: {error}; correct it or remove it") from None
        return settings

    def trace_path(self) -> str:
        """Return the file or the URL of the trace."""
        return self.trace or str(platformdirs.user_data_path("guard", appauthor=False) / "trace.db")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not a source of ours)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not a source of ours)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Name the sources, the strongest first."""
        named = getattr(settings_cls, "file", None)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, named or default_file())


def default_file() -> Path:
    """Return where guard.toml is read from: the working directory, else the user's folder, where there may be none."""
    here = Path("guard.toml")
    return here if here.is_file() else platformdirs.user_config_path("guard", appauthor=False) / "guard.toml"


def _check_names(file: Path, known: set[str]) -> None:
    """Raise SettingError where a file sets what there is not: it would be left out without a word."""
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # no file, or none that can be read: whoever reads it says so
    for name in said:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"; write {near[0]}" if near else f"; there are {', '.join(sorted(known))}"
            raise SettingError(f"{_place(file, name)}: there is no setting {name}{advice}")


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
