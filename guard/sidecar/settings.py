"""The sidecar's settings: the table [serve] of guard.toml, each value overridden by an environment variable.

`GUARD_SERVE__PORT=8080` is `port`, `GUARD_SERVE__MODELS__FAST__CONCURRENCY=8` that of the model `fast`. Errors name the
file's line and the key. Secrets are never in the file: `api_key = "env:NAME"` names the environment variable.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from guard import models
from guard.errors import ModelError, SettingError
from guard.settings import (
    Count,
    FileSettings,
    Number,
    Seconds,
    Settings,
    default_file,
    line_of,
    tell_unknown,
    variable_of,
    worded,
)
from guard.support.bounds import MOST_DAYS, MOST_SECONDS, written

PREFIX = "GUARD_SERVE__"  #: Of the environment's variables that are settings of the sidecar.
DEFAULT = "smollm2"  #: The model that is served where no file says which.
MOST_PORT = 65_535
_SECRET = frozenset({"api_key", "base_url"})  #: Keys whose values no message shows. Neither are those of unknown keys.
_ORIGIN = r"https?://[^\s/?#@*]+"  #: An origin as browsers send it: no path, no wildcard.
_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#\[\]:]+)(:(?P<port>[0-9]{1,5}))?(/[^\s?#]*)?")
_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def _can_be_asked(url: str) -> bool:
    """Whether the HTTP client takes a URL, too."""
    import httpx2

    found = _ADDRESS.fullmatch(url)
    try:
        return found is not None and int(found["port"] or 1) <= MOST_PORT and bool(httpx2.URL(url).host)
    except httpx2.InvalidURL:
        return False


class ModelSettings(BaseModel):
    """One model by the name that clients ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="as for guard.Guard: smollm2, openai:NAME, anthropic:NAME …")
    base_url: str | None = Field(default=None, description="of openai: and anthropic:")
    api_key: str | None = Field(
        default=None, description="env:NAME, where the key is; None: the SDK's own variable, of a base_url none"
    )
    escalate_to: tuple[str, ...] = Field(default=(), description="served models asked next, in order")
    retries: Count = Field(default=2, le=20, description="re-asks after an answer that is not valid")
    transport_retries: Count = Field(default=1, le=10, description="of broken connections, 429 and 5xx")
    first_token_seconds: Seconds = Field(default=60.0, gt=0, description="until the first piece of a stream")
    total_seconds: Seconds = Field(default=300.0, gt=0, description="of a whole request, all tiers included")
    concurrency: Annotated[Count, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="requests answered at once; None: 512 of a provider, 32 of one here"
    )
    max_tokens: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="of schema work, where a request says none; None: 4,096, 1,024 of a model here"
    )
    stream: Literal["live", "buffered"] | None = Field(default=None, description="None: by what the model can do")
    validate_tools: bool = Field(
        default=True,
        description="whether calls are checked of tools that are not strict; false: they go through as they are",
    )
    precision: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        default=None, description="expected share of right answers among those taken; others escalate (guard shadow)"
    )
    breaker_failures: Count = Field(default=8, ge=1, description="failures in a row that open the breaker")
    breaker_seconds: Seconds = Field(default=15.0, gt=0, description="for which it stays open before one request tries")

    @field_validator("model")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            models.check_name(value)
        except ModelError as error:
            raise ValueError(error.message) from None
        return value

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:  # also behind a / or #, which the password may hold
            raise ValueError(
                'a password is not written here: set api_key = "env:NAME" and the environment variable NAME; '
                "an @ of a path is written %40"
            )
        if value is not None and not _can_be_asked(value):
            raise ValueError("must be an address: http://HOST:PORT/v1 or https://…, with neither ? nor #")
        return value

    @field_validator("api_key")
    @classmethod
    def _is_reference(cls, value: str | None) -> str | None:
        if value is not None and not _REFERENCE.fullmatch(value):
            raise ValueError('a secret is not written here: set api_key = "env:NAME" and the environment variable NAME')
        return value

    @model_validator(mode="after")
    def _is_coherent(self) -> ModelSettings:
        for name in ("base_url", "api_key"):
            if getattr(self, name) is not None and not self.is_remote:
                raise ValueError(f"{name} belongs to a model openai:NAME or anthropic:NAME")
        if self.precision is not None and not self.escalate_to:
            raise ValueError("precision needs escalate_to: who answers where this model is not sure enough")
        return self

    @property
    def is_remote(self) -> bool:
        """Whether a provider answers."""
        return self.model.startswith(("openai:", "anthropic:"))

    @property
    def slots(self) -> int:
        """How many requests it answers at once."""
        return self.concurrency or (512 if self.is_remote else 32)

    @property
    def most_tokens(self) -> int:
        """The limit of an answer's tokens where the request names none."""
        return self.max_tokens or (4096 if self.is_remote else 1024)

    @property
    def key_variable(self) -> str | None:
        """The name of the environment variable that api_key names; None without."""
        return None if self.api_key is None else self.api_key.removeprefix("env:")

    def secret(self) -> str | None:
        """Return the key from the environment. Raises SettingError where the variable is not set."""
        name = self.key_variable
        if name is None:
            return None
        if not (value := os.environ.get(name)):
            raise SettingError(f"the environment variable {name}, which api_key names, is not set")
        return value


class ServeSettings(FileSettings):
    """How the sidecar listens, what it allows, and which models it serves."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="beyond loopback there must be a key")
    port: Count = Field(default=8080, le=MOST_PORT, description="0: any that is free")
    metrics_host: str = Field(default="127.0.0.1", min_length=1, description="of metrics_port")
    metrics_port: Annotated[Count, Field(le=MOST_PORT)] | None = Field(
        default=None, description="/metrics there too, without a key"
    )
    needs_key: bool | None = Field(default=None, description="None: beyond loopback, and where one was ever made")
    origins: tuple[str, ...] = Field(default=(), description="of web pages that may ask: https://app.example")
    workers: Count = Field(default=1, ge=1, le=64, description="processes; each loads its own local models")
    in_flight: Count = Field(
        default=512, ge=1, description="requests at once in a process, once their bodies are there"
    )
    slow_bodies: Count = Field(default=64, ge=1, description="waited for at once from one key, or one address without")
    held_bytes: Count = Field(
        default=500_000_000, ge=1, description="of all requests' bodies in a process; of one key or address a quarter"
    )
    connections: Count = Field(default=12_000, ge=1, description="open at once in a process")
    body_bytes: Count = Field(default=10_000_000, ge=1, description="of a request")
    response_bytes: Count = Field(default=10_000_000, ge=1, description="of a model's answer")
    head_bytes: Count = Field(default=65_536, ge=1024, description="of a request's line and headers")
    head_seconds: Seconds = Field(default=10.0, gt=0, description="until a request's head is there")
    body_seconds: Seconds = Field(
        default=30.0, gt=0, description="until its body is; and of a client that does not read"
    )
    keep_alive_seconds: Count = Field(
        default=75, ge=1, le=int(MOST_SECONDS), description="for which an idle connection stays open"
    )
    drain_seconds: Seconds = Field(
        default=30.0, ge=0, description="for which running requests may finish after SIGTERM"
    )
    responses_kept: Count = Field(default=10_000, description="of each key, for previous_response_id; 0: none")
    responses_days: Annotated[Number, Field(gt=0, le=MOST_DAYS)] = Field(default=30.0, description="for which they are")
    training: bool = Field(
        default=False, description="whether calls without a key may be trained on; of a key, guard keys says it"
    )
    access_log: str = Field(default="-", description='a file of JSON lines; "-": standard output; "": none')
    log_prompts: bool = Field(default=False, description="whether the access log holds what was asked")
    models: dict[str, ModelSettings] = Field(
        default={DEFAULT: ModelSettings(model=DEFAULT)}, min_length=1, description="by the names that clients ask for"
    )

    values: ClassVar[dict[str, Any]] = {}  # the file's, of a subclass

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(_ORIGIN, origin):
                raise ValueError(f"{origin!r} must be an origin, as a browser sends it: https://app.example")
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _are_named_by_the_file(cls, value: Any) -> Any:
        """Give a model's settings from the environment, whose names have no case, to the model of the file."""
        named = cls.values.get("models")
        if not isinstance(value, dict) or not isinstance(named, dict):
            return value
        found = {name: given for name, given in value.items() if name in named}
        for name, given in value.items():
            if name in named:
                continue
            meant = [other for other in named if other.lower() == name.lower()]
            if len(meant) > 1:
                words = (
                    f"{' and '.join(meant)} differ in capitals alone, which no variable can tell; set it in the file"
                )
                raise ValueError(f"models.{name} {words}")
            (place,) = meant or [name]
            before = found.get(place)
            found[place] = {**before, **given} if isinstance(before, dict) and isinstance(given, dict) else given
        return found

    @model_validator(mode="after")
    def _tiers_are_served(self) -> ServeSettings:
        for name, model in self.models.items():
            for other in model.escalate_to:
                if other not in self.models:
                    raise ValueError(f"models.{name}.escalate_to names {other!r}; served are {', '.join(self.models)}")
                if other == name:
                    raise ValueError(f"models.{name}.escalate_to names the model itself")
        return self

    @classmethod
    def load(cls, file: Path | None = None) -> ServeSettings:
        """Read the settings. Raises SettingError, which names the line and the key."""
        _check_environment()
        path = file or default_file()
        text = _read(path, is_needed=file is not None)
        try:
            table = tomllib.loads(text).get("serve", {})
        except (ValueError, RecursionError) as error:  # ValueError also for a number of more digits than Python reads
            raise SettingError(f"{path}: {error}; correct it") from None
        if not isinstance(table, dict):
            raise SettingError(f"{path}: serve must be a table: [serve]")
        try:
            kind: Any = type(cls.__name__, (cls,), {"__annotations__": {}, "values": table})
            settings: ServeSettings = kind()
        except ValidationError as error:
            raise SettingError(f"{_where(path, text, error)}") from None
        except SettingsError:
            raise SettingError(f'{_not_json()}: a list or a table is written as JSON here, such as ["one"]') from None
        for name, model in settings.models.items():
            try:
                model.secret()
            except SettingError as error:
                raise SettingError(f"{_place(path, text, ('models', name, 'api_key'))}: {error}") from None
        return settings

    @classmethod
    def _file_source(cls) -> PydanticBaseSettingsSource:
        return InitSettingsSource(cls, init_kwargs=cls.values)


def load(file: Path | None = None) -> tuple[ServeSettings, Settings]:
    """Read the sidecar's settings and those that all of Guard has, such as the trace, from one file."""
    return ServeSettings.load(file), Settings.load(file)


def _read(path: Path, *, is_needed: bool) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if is_needed:
            raise SettingError(f"no such file: {path}; check the name") from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} can't be read: {getattr(error, 'strerror', error)}") from None


def _check_environment() -> None:
    """Raise SettingError where a variable is nearly a setting's name; the log is told once of any other that is none.

    What comes behind `GUARD_SERVE__MODELS__` is checked with the models.
    """
    fields = ServeSettings.model_fields
    for name in os.environ:
        rest = name.upper().removeprefix(PREFIX.rstrip("_"))  # GUARD_SERVE_PORT is meant for one, too
        if rest == name.upper() or not rest.startswith("_"):
            continue
        key, *more = rest.lstrip("_").lower().split("__")
        if rest.startswith("__") and key in fields and (key == "models" or not more):
            continue
        if near := difflib.get_close_matches(key, fields, 1):
            meant = "__".join([PREFIX + near[0].upper(), *(part.upper() for part in more if near[0] == "models")])
            raise SettingError(f"the environment variable {name}: there is no such setting; did you mean {meant}?")
        tell_unknown(name, [f"{PREFIX}{field.upper()}" for field in fields])


def _not_json() -> str:
    """Return the name of a variable that must be JSON, and is none."""
    texts = ModelSettings.model_fields.keys() - {"escalate_to"}
    for name, value in os.environ.items():
        key, *more = name.upper().removeprefix(PREFIX).lower().split("__")
        if name.upper().startswith(PREFIX) and key in ("models", "origins") and (len(more) < 2 or more[1] not in texts):
            try:
                json.loads(value)
            except (ValueError, RecursionError):
                return name
    return f"{PREFIX}…"


def _where(path: Path, text: str, error: ValidationError) -> str:
    # A key that there is not comes first: it may be why another one is missing.
    first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    loc = tuple(str(part) for part in first["loc"])
    message = worded(first["msg"], first["input"])
    if not loc and (named := re.match(r"(models\.[^ ]+) ", message)):
        loc = tuple(named[1].split("."))
    known = ""
    if first["type"] == "extra_forbidden":
        kind = ModelSettings if loc[0] == "models" else ServeSettings
        message = "there is no such key"
        known = f"; known are {', '.join(kind.model_fields)}"
    may_hold_secret = first["type"] == "extra_forbidden" or not _SECRET.isdisjoint(loc)
    shown = "" if may_hold_secret or isinstance(first["input"], dict) else f" ({written(first['input'])})"
    return f"{_place(path, text, loc)}: {message}{shown}{known}"


def _place(path: Path, text: str, loc: tuple[str, ...]) -> str:
    """Return the place of a key: the file's line, or the environment variable that sets it."""
    key = f"serve.{'.'.join(loc)}"
    for length in range(len(loc), 0, -1):
        variable = PREFIX + "__".join(loc[:length]).upper()
        if named := variable_of(variable):
            return named
        if (line := line_of(text, ("serve", *loc[:length]))) is not None:
            return f"{path}, line {line}, {key}"
        if within := [name for name in os.environ if name.upper().startswith(f"{variable}__")]:
            return f"{within[0]}, {key}"
    return f"{path}, {key}" if loc else str(path)
