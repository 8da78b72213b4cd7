"""Settings: what a call does not say comes from the environment, then from guard.toml, then from here.

Environment variables are the names below with `GUARD_` before them (GUARD_MODEL, GUARD_TRACE …). guard.toml is read
from the working directory, else from the user's configuration folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from guard.errors import SettingError
from guard.violations import pointer


class Settings(BaseSettings):
    """The defaults of every call."""

    model_config = SettingsConfigDict(env_prefix="GUARD_", extra="ignore", frozen=True)

    model: str = Field(default="smollm2", min_length=1, description="the model asked")
    retries: int = Field(default=2, ge=0, description="re-asks after the first attempt")
    seed: int = Field(default=0, description="of sampling")
    max_tokens: int = Field(default=512, ge=1, description="of each attempt's completion")
    temperature: float = Field(default=0.0, ge=0, description="0 is greedy")
    trace: str | None = Field(
        default=None, description="file of the trace, or postgresql:// URL; None: a file in the user's data folder"
    )
    trace_days: float | None = Field(default=None, gt=0, description="calls older than this go; None: none does")
    trace_calls: int | None = Field(default=None, ge=1, description="so many of the newest calls stay; None: all do")

    file: ClassVar[Path | None] = None  # in place of guard.toml where it is looked for

    @classmethod
    def load(cls, file: Path | None = None) -> Settings:
        """Read the settings as they stand now, or with another guard.toml; SettingError names the one that is wrong."""
        kind: Any = cls if file is None else type("Settings", (cls,), {"__annotations__": {}, "file": file})
        try:
            settings: Settings = kind()
        except ValidationError as error:
            first = error.errors()[0]
            name = pointer(first["loc"]).removeprefix("/")
            raise SettingError(
                f"the setting {name}={first['input']!r} (GUARD_{name.upper()} or guard.toml) is not valid: "
                f"{first['msg']}"
            ) from None
        except ValueError as error:  # guard.toml is not TOML
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
