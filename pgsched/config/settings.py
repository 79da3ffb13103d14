"""Every key with its default, its meaning and its bounds. Never reads a file or a variable."""

from __future__ import annotations

import os
import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from pgsched.config.dsn import ALLOWED as DSN_ALLOWED
from pgsched.config.dsn import HIDDEN, checked_dsn, is_embedded, masked_dsn
from pgsched.domain.duration import format_duration, parse_duration
from pgsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

DAY = timedelta(days=1)

SHORTEST = timedelta(milliseconds=10)
"""Below this a loop only keeps itself and the database busy."""

LONGEST_TABLE_BYTES = 40
"""Postgres cuts names at 63 bytes, and `idx_<table>_last_heartbeat` must fit: 19 bytes more, and some to spare."""

LONGEST_SCHEMA_BYTES = 63

LONGEST_ID_BYTES = 100
"""It is part of every `picked_by` and of every log line."""

LONGEST_HOST_BYTES = 253

LONGEST_TOKEN_BYTES = 256

LEAST_MEMORY = 10_000_000
"""Below this every poller would be replaced at once."""

SIZE = TypeAdapter(ByteSize)

LONGEST_SHOWN = 60
"""As much of a wrong value as a line of an error takes."""


def _duration(value: object) -> object:
    if isinstance(value, timedelta) or value is None:
        return value
    if isinstance(value, int | float):
        raise ValueError(f"{value!r:.{LONGEST_SHOWN}} has no unit")  # noqa: TRY004 as pydantic wants it
    try:
        return parse_duration(value)  # type: ignore[arg-type]  # it refuses what isn't text
    except ValueError as error:
        raise ValueError(str(error).partition("; allowed:")[0]) from None


def _size(value: object) -> object:
    """Bytes: a number of them, or with a unit."""
    return SIZE.validate_python(value) if isinstance(value, str) else value


def _modules(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r:.{LONGEST_SHOWN}} is no list")  # noqa: TRY004 as pydantic wants it
    for name in value:
        if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
            raise ValueError(f"{name!r:.{LONGEST_SHOWN}} is no import path{_path_hint(name)}")
    return tuple(value)


def _path_hint(name: object) -> str:
    """Whoever names a file means its import path."""
    if not isinstance(name, str):
        return ""
    path = name.removesuffix(".py").replace("/", ".").strip(".")
    return did_you_mean(path, [path]) if path and path != name else ""


def _dsn(value: object) -> object:
    return checked_dsn(value) if isinstance(value, str) else value


def _token(value: object) -> object:
    """What a header can carry. An error never quotes it."""
    if not isinstance(value, str):
        return value
    token = value.strip()  # a secret read from a file often ends with a newline
    if not re.fullmatch(rf"[!-~]{{1,{LONGEST_TOKEN_BYTES}}}", token):
        raise ValueError("this is no token (not shown)")
    return token


def _name(limit_bytes: int) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, str):
            size_bytes = len(value.encode("utf-8", "surrogatepass"))
            if not 1 <= size_bytes <= limit_bytes:
                raise ValueError(f"{value!r:.{LONGEST_SHOWN}} has {size_bytes} bytes")
            if "\0" in value or not value.isprintable():
                raise ValueError(
                    f"{value!r:.{LONGEST_SHOWN}} holds a character that can't be shown"
                )
        return value

    return BeforeValidator(check)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _key(default: object, meaning: str, allowed: str, **rest: Any) -> Any:
    """A key of the configuration: `meaning` is its line in the docs, `allowed` its part of an error."""
    return Field(default, description=meaning, json_schema_extra={"allowed": allowed}, **rest)


def _number(default: int, meaning: str, *, most: int) -> Any:
    return _key(default, meaning, f"a whole number from 1 to {most}", ge=1, le=most)


def _span(default: timedelta | None, meaning: str, *, most: timedelta, also: str = "") -> Any:
    bounds = f"from {format_duration(SHORTEST)} to {format_duration(most)}"
    allowed = f"a duration such as 30s or 2h30m, {bounds}{also}"
    return _key(default, meaning, allowed, ge=SHORTEST, le=most)


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration)]


class Section(BaseModel):
    """Keys that belong together. Strict: `"2"` is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatabaseSettings(Section):
    """Where executions are kept."""

    dsn: Annotated[SecretStr | None, BeforeValidator(_dsn)] = _key(
        None, "the database: a URL, key=value pairs, or embedded", DSN_ALLOWED
    )
    dsn_file: str | None = _key(
        None,
        "a file that holds the DSN, such as a mounted secret, from this file's folder on; null: dsn says it",
        "the path of a file that holds a DSN, instead of database.dsn; or null",
    )
    table: Annotated[str, _name(LONGEST_TABLE_BYTES)] = _key(
        "scheduled_tasks",
        "the table of executions; its indexes and side tables are named after it",
        f"text of 1 to {LONGEST_TABLE_BYTES} bytes",
    )
    schema_name: Annotated[str | None, _name(LONGEST_SCHEMA_BYTES)] = _key(
        None,
        "the schema of the table; null: the connection's search_path",
        f"text of 1 to {LONGEST_SCHEMA_BYTES} bytes, or null",
        alias="schema",
    )
    pooler: Literal["transaction"] | None = _key(
        None,
        "what stands between pgsched and Postgres, if it gives each transaction another session: "
        "transaction (PgBouncer in that mode); null: nothing of the kind",
        "transaction, or null (a pooler in session mode needs no setting)",
    )

    @property
    def conninfo(self) -> str:
        """The DSN in the clear, `embedded` among them. Raises: ConfigError where there is none."""
        if self.dsn is None:
            raise ConfigError(
                "no database is configured",
                key="database.dsn",
                allowed="--dsn, PGSCHED_DATABASE__DSN, DATABASE_URL, or database.dsn or dsn_file in the config file",
            )
        return self.dsn.get_secret_value()

    @property
    def is_embedded(self) -> bool:
        """Whether the DSN asks for the embedded Postgres."""
        return self.dsn is not None and is_embedded(self.conninfo)


class TasksSettings(Section):
    """Whose code is run."""

    modules: Annotated[tuple[str, ...], BeforeValidator(_modules)] = _key(
        (),
        "import paths of the task modules; the folder of this file is importable",
        "a list of import paths such as [myapp.tasks]",
    )


class WorkerSettings(Section):
    """How a worker runs executions."""

    id: Annotated[str | None, _name(LONGEST_ID_BYTES)] = _key(
        None,
        "the worker's name in logs and in picked_by; null: hostname-pid",
        f"text of 1 to {LONGEST_ID_BYTES} bytes, or null",
    )
    processes: int = _number(2, "pollers to fork", most=1000)
    concurrency: int = _number(10, "executions at a time in each poller", most=10_000)
    batch_size: int = _number(
        10,
        "executions that a pick takes to begin with; where tasks are quick it grows by itself",
        most=10_000,
    )
    polling_interval: Duration = _span(
        timedelta(seconds=10), "how often to look for due executions unasked", most=DAY
    )
    heartbeat_timeout: Duration = _span(
        timedelta(minutes=5), "an execution is dead when its heartbeat is older", most=7 * DAY
    )
    heartbeat_interval: Annotated[timedelta | None, BeforeValidator(_duration)] = _span(
        None,
        "how often to beat; null: a third of heartbeat_timeout",
        most=7 * DAY,
        also=", below worker.heartbeat_timeout; or null",
    )
    shutdown_timeout: Duration = _span(
        timedelta(seconds=30), "how long running executions may take to end at shutdown", most=DAY
    )
    max_crashes: int = _number(
        5, "workers that may die in a row of one execution before it counts as failed", most=1000
    )
    stall_timeout: Duration = _span(
        timedelta(minutes=2), "a poller whose loop stands still for longer is replaced", most=DAY
    )
    max_executions_per_process: int | None = _key(
        None,
        "executions after which a poller is replaced; null: never",
        f"a whole number from 1 to {10**9}, or null",
        ge=1,
        le=10**9,
    )
    max_memory_per_process: Annotated[int | None, BeforeValidator(_size)] = _key(
        None,
        "resident memory beyond which a poller is replaced; null: never",
        "a size such as 512MB or 2GiB, at least 10MB; or null",
        ge=LEAST_MEMORY,
    )
    maintenance_interval: Annotated[timedelta | None, BeforeValidator(_duration)] = _span(
        DAY,
        "how often one of the workers looks after the indexes, where its role may; null: never",
        most=30 * DAY,
        also="; or null",
    )

    @property
    def identity(self) -> str:
        """`id`, or what stands in for it in this process."""
        return self.id or f"{socket.gethostname()}-{os.getpid()}"

    @property
    def heartbeat_every(self) -> timedelta:
        """`heartbeat_interval`, or a third of the timeout: two beats may be lost before the third is too late."""
        return self.heartbeat_interval or self.heartbeat_timeout / 3

    @model_validator(mode="after")
    def _check_heartbeats(self) -> WorkerSettings:
        """As rare as the timeout, every execution would look dead before its next beat."""
        if self.heartbeat_every >= self.heartbeat_timeout:
            facts = {
                "key": "heartbeat_interval",
                "interval": format_duration(self.heartbeat_every),
                "timeout": format_duration(self.heartbeat_timeout),
            }
            raise PydanticCustomError(
                "pair", "{interval} is too long beside worker.heartbeat_timeout {timeout}", facts
            )
        return self


class MonitoringSettings(Section):
    """Health and metrics of a worker over HTTP: `/livez`, `/readyz`, `/metrics`."""

    host: Annotated[str, _name(LONGEST_HOST_BYTES)] = _key(
        "127.0.0.1",
        "the address to listen on; 0.0.0.0 or :: for all",
        f"a name or an address of 1 to {LONGEST_HOST_BYTES} bytes",
    )
    port: int | None = _key(
        None,
        "the port to listen on, 0 for a free one that the log names; null: no monitoring",
        "a whole number from 0 to 65535, or null",
        ge=0,
        le=65_535,
    )
    token: Annotated[SecretStr | None, BeforeValidator(_token)] = _key(
        None,
        "who reads `/metrics` must send it (`Authorization: Bearer ...`); null: nobody must",
        f"1 to {LONGEST_TOKEN_BYTES} letters, digits and other visible characters of ASCII, or null",
    )


class LoggingSettings(Section):
    """What a worker tells about itself, on stderr."""

    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = _key(
        "auto", "auto: console on a terminal, JSON elsewhere", "auto, console, json"
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = _key(
        "info", "the least that is told", "debug, info, warning, error"
    )

    def is_json(self, *, on_terminal: bool) -> bool:
        """Whether log lines are JSON objects, on a terminal or elsewhere."""
        return self.format == "json" or (self.format == "auto" and not on_terminal)


class Settings(BaseSettings):
    """Every key, checked. Only holds: building and connecting happen elsewhere."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", strict=True)

    database: DatabaseSettings = DatabaseSettings()
    tasks: TasksSettings = TasksSettings()
    worker: WorkerSettings = WorkerSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    logging: LoggingSettings = LoggingSettings()

    _file: Path | None = PrivateAttr(None)
    _overrides: tuple[str, ...] = PrivateAttr(())

    @property
    def file(self) -> Path | None:
        """The file that was read, as an absolute path."""
        return self._file

    @property
    def folder(self) -> Path:
        """What task modules are imported from: the file's folder, or the current one where there is no file."""
        return self._file.parent if self._file else Path.cwd()

    @property
    def overrides(self) -> tuple[str, ...]:
        """The variables and flags that stood in for keys of the file, without their values."""
        return self._overrides

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 as pydantic calls it
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 as pydantic calls it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 as pydantic calls it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The layers as `load_settings` gathered them: pydantic-settings' own forget which variable a value is of."""
        layers: tuple[dict[str, Any], ...] = init_settings().get("layers", ())
        return tuple(InitSettingsSource(settings_cls, layer) for layer in layers)


def settings_as_shown(settings: Settings) -> dict[str, dict[str, Any]]:
    """The effective values as a configuration that `load_settings` would take, but for masked secrets."""
    sections = {name: getattr(settings, name) for name in Settings.model_fields}
    shown = {
        name: {
            field.alias or key: _shown(getattr(section, key), is_dsn=key == "dsn")
            for key, field in type(section).model_fields.items()
        }
        for name, section in sections.items()
    }
    shown["worker"]["heartbeat_interval"] = format_duration(settings.worker.heartbeat_every)
    return shown


def _shown(value: object, *, is_dsn: bool) -> object:
    match value:
        case SecretStr():
            return masked_dsn(value.get_secret_value()) if is_dsn else HIDDEN
        case timedelta():
            return format_duration(value)
        case tuple():
            return list(value)
        case _:
            return value
