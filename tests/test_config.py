from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pgsched.config import load_settings, masked_dsn, settings_as_shown
from pgsched.errors import ConfigError
from pgsched.store.statement import IDENTIFIER_LIMIT_BYTES, Names

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[1] / "config.example.yaml"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        file = tmp_path / "prod.yaml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


def refused(content: str | bytes, config: Callable[[str | bytes], Path], **flags: Any) -> str:
    """The one line in which a configuration is refused, without the folder of its file."""
    file = config(content)
    with pytest.raises(ConfigError) as raised:
        load_settings(file, **flags)
    message = str(raised.value)
    assert "\n" not in message
    return message.replace(f"{file.parent}/", "")


# What a file says


def test_no_file_means_defaults() -> None:
    settings = load_settings(None)
    assert settings.database.dsn is None
    assert settings.database.table == "scheduled_tasks"
    assert settings.worker.processes == 2
    assert settings.worker.polling_interval == timedelta(seconds=10)
    assert settings.file is None
    assert settings.folder == Path.cwd()


def test_the_example_holds_every_key_with_its_default() -> None:
    settings = load_settings(EXAMPLE)
    assert settings_as_shown(settings) == settings_as_shown(load_settings(None))
    written = yaml.safe_load(EXAMPLE.read_text())
    assert {(section, key) for section, keys in written.items() for key in keys} == {
        (section, key) for section, keys in settings_as_shown(settings).items() for key in keys
    }


def test_the_example_says_one_line_about_every_key() -> None:
    lines = EXAMPLE.read_text().splitlines()
    keys = [
        number for number, line in enumerate(lines) if line.startswith("  ") and "#" not in line
    ]
    assert keys
    assert [lines[number] for number in keys if not lines[number - 1].startswith("  # ")] == []
    assert [lines[number] for number in keys if lines[number - 2].startswith("  # ")] == []


def test_every_key_of_a_file_is_read(config: Callable[[str | bytes], Path]) -> None:
    file = config("""
        database: {dsn: "postgresql://app@db/app", table: jobs, schema: app}
        tasks: {modules: [one, two.three]}
        worker:
          id: blue
          processes: 3
          concurrency: 4
          batch_size: 5
          polling_interval: 1.5s
          heartbeat_timeout: 1h30m
          heartbeat_interval: 20m
          shutdown_timeout: 1m
          max_crashes: 7
        logging: {format: JSON, level: debug}
    """)
    settings = load_settings(file)
    assert settings.database.conninfo == "postgresql://app@db/app"
    assert (settings.database.table, settings.database.schema_name) == ("jobs", "app")
    assert settings.tasks.modules == ("one", "two.three")
    worker = settings.worker
    assert (worker.identity, worker.processes, worker.concurrency) == ("blue", 3, 4)
    assert (worker.batch_size, worker.max_crashes) == (5, 7)
    assert worker.polling_interval == timedelta(seconds=1.5)
    assert worker.heartbeat_timeout == timedelta(hours=1, minutes=30)
    assert worker.heartbeat_every == timedelta(minutes=20)
    assert worker.shutdown_timeout == timedelta(minutes=1)
    assert (settings.logging.format, settings.logging.level) == ("json", "debug")
    assert settings.file == file
    assert settings.folder == file.parent


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "worker:\n", "\ufeffworker: {}\n"])
def test_what_is_left_out_has_its_default(
    content: str, config: Callable[[str | bytes], Path]
) -> None:
    defaults = settings_as_shown(load_settings(None))
    assert settings_as_shown(load_settings(config(content))) == defaults


def test_settings_never_change() -> None:
    settings = load_settings(None)
    with pytest.raises(ValueError, match="frozen"):
        settings.worker.processes = 3
    with pytest.raises(ValueError, match="frozen"):
        settings.worker = settings.worker


def test_a_beat_comes_thrice_a_timeout_unless_told_otherwise(
    config: Callable[[str | bytes], Path],
) -> None:
    settings = load_settings(config("worker: {heartbeat_timeout: 30s}"))
    assert settings.worker.heartbeat_interval is None
    assert settings.worker.heartbeat_every == timedelta(seconds=10)


def test_every_name_made_of_the_longest_table_fits_an_identifier(
    config: Callable[[str | bytes], Path],
) -> None:
    settings = load_settings(config(f"database: {{table: {'é' * 20}}}"))
    names = Names(settings.database.table)
    for identifier in names.identifiers().values():
        assert len(identifier.as_string(None).strip('"').encode()) <= IDENTIFIER_LIMIT_BYTES


@pytest.mark.parametrize(
    ("format_", "on_terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("console", False, False)],
)
def test_auto_means_json_where_nobody_watches(
    format_: str, on_terminal: bool, is_json: bool, config: Callable[[str | bytes], Path]
) -> None:
    logging = load_settings(config(f"logging: {{format: {format_}}}")).logging
    assert logging.is_json(on_terminal=on_terminal) is is_json


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "worker:\n  processes: 0\n",
            "prod.yaml, line 2: worker.processes: 0 is out of bounds (allowed: a whole number from 1 to 1000)",
        ),
        (
            "worker:\n  processes: '2'\n",
            "worker.processes: '2' is no whole number (allowed: a whole",
        ),
        ("worker:\n  processes: yes\n", "worker.processes: True is no whole number"),
        ("worker:\n  concurrency: 2.0\n", "worker.concurrency: 2.0 is no whole number"),
        ("worker:\n  batch_size: null\n", "worker.batch_size: null is no whole number"),
        ("worker:\n  max_crashes: -1\n", "worker.max_crashes: -1 is out of bounds"),
        (
            "worker:\n  polling_interval: 10\n",
            "worker.polling_interval: 10 has no unit (allowed: a d",
        ),
        ("worker:\n  polling_interval: 0s\n", "worker.polling_interval: 0s is out of bounds"),
        ("worker:\n  polling_interval: 2d\n", "worker.polling_interval: 2d is out of bounds"),
        ("worker:\n  polling_interval: soon\n", "worker.polling_interval: 'soon' is no duration"),
        ("worker:\n  shutdown_timeout: null\n", "worker.shutdown_timeout: null can't stand here"),
        ("worker:\n  id: 12\n", "worker.id: 12 is no text (quotes make it one)"),
        ("worker:\n  id: ''\n", "worker.id: '' has 0 bytes"),
        ('worker:\n  id: "a\\0b"\n', "worker.id: 'a\\x00b' holds a character"),
        (f"database:\n  table: {'x' * 41}\n", "has 41 bytes (allowed: text of 1 to 40 bytes)"),
        (
            f"database:\n  schema: {'ü' * 32}\n",
            "has 64 bytes (allowed: text of 1 to 63 bytes, or null)",
        ),
        (
            "tasks:\n  modules: myapp.tasks\n",
            "tasks.modules: 'myapp.tasks' is no list (allowed: a li",
        ),
        (
            "tasks:\n  modules: [myapp/tasks.py]\n",
            "'myapp/tasks.py' is no import path — did you mean 'myapp.tasks'?",
        ),
        ("tasks:\n  modules: [3]\n", "tasks.modules: 3 is no import path (allowed"),
        (
            "logging:\n  level: inof\n",
            "logging.level: 'inof' is unknown — did you mean 'info'? (allowed: debug, info, warning, error)",
        ),
        ("logging:\n  level: off\n", "logging.level: False is unknown (allowed"),
        (
            "database:\n  dsn: mysql://u:secret@h/d\n",
            "the scheme mysql is not postgresql (allowed: p",
        ),
        (
            "database:\n  dsn: s3cret\n",
            "database.dsn: this is no DSN (not shown: it may hold a passw",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_is_allowed(
    content: str, message: str, config: Callable[[str | bytes], Path]
) -> None:
    said = refused(content, config)
    assert said.startswith("prod.yaml, line 2: ")
    assert message in said


def test_an_unknown_key_is_named_with_the_one_that_was_meant(
    config: Callable[[str | bytes], Path],
) -> None:
    assert refused("worker:\n  id: a\n  proceses: 3\n", config) == (
        "prod.yaml, line 3: worker.proceses: unknown key — did you mean 'processes'? (allowed: id, processes, "
        "concurrency, batch_size, polling_interval, heartbeat_timeout, heartbeat_interval, shutdown_timeout, "
        "max_crashes, stall_timeout, max_executions_per_process, max_memory_per_process, "
        "maintenance_interval)"
    )
    assert refused("workr:\n  id: a\n", config) == (
        "prod.yaml, line 1: workr: unknown section — did you mean 'worker'? "
        "(allowed: database, tasks, worker, monitoring, logging)"
    )
    assert "unknown key — did you mean 'schema'?" in refused("database: {schema_name: a}", config)


@pytest.mark.parametrize(
    ("timeout", "interval", "is_right"),
    [("10s", "5s", True), ("10s", "9999ms", True), ("10s", "10s", False), ("10s", "11s", False)],
)
def test_a_heartbeat_interval_not_below_its_timeout_is_refused(
    timeout: str, interval: str, is_right: bool, config: Callable[[str | bytes], Path]
) -> None:
    content = f"worker:\n  heartbeat_timeout: {timeout}\n  heartbeat_interval: {interval}\n"
    if is_right:
        load_settings(config(content))
        return
    said = refused(content, config)
    assert "prod.yaml, line 3: worker.heartbeat_interval: " in said
    assert "below worker.heartbeat_timeout" in said


def test_all_problems_are_told_one_line_each(config: Callable[[str | bytes], Path]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(config("worker: {processes: 0, batch_size: 0}\nlogging: {level: x}\n"))
    assert "worker.processes" in str(raised.value)
    others = raised.value.__notes__
    assert [("worker.batch_size" in others[0]), ("logging.level" in others[1])] == [True, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("worker:\n  id: [\n", "prod.yaml, line 3: not YAML: while parsing a flow node, expected"),
        ("a: b: c\n", "prod.yaml, line 1: not YAML: mapping values are not allowed here"),
        (
            "worker:\n\tprocesses: 3\n",
            "prod.yaml, line 2: not YAML: a tab can't indent, use spaces",
        ),
        ("worker:\n  id: a\n  id: b\n", "prod.yaml, line 3: not YAML: the key 'id' is there twice"),
        (
            "worker: {}\nworker: {}\n",
            "prod.yaml, line 2: not YAML: the key 'worker' is there twice",
        ),
        ("a: &a {b: c}\nd: *a\n", "prod.yaml, line 2: not YAML: aliases are not supported"),
        ("a: !!python/name:os.system\n", "prod.yaml, line 1: not YAML: tags are not supported"),
        ("{}\n---\n{}\n", "prod.yaml, line 2: not YAML: expected a single document in the stream"),
        ("worker:\n  1: x\n", "prod.yaml, line 2: not YAML: a key must be text"),
        ("? [a]\n: b\n", "prod.yaml, line 1: not YAML: a key must be text"),
        ("worker:\n  id: \0\n", "prod.yaml, line 2: not YAML: the character U+0000 is not allowed"),
        ("worker:\n  processes: " + "9" * 5000, "prod.yaml, line 2: not YAML: a number has more"),
        (b"worker:\n  id: \xff\n", "prod.yaml, line 2: not UTF-8: byte 0xFF"),
        ("[1, 2]\n", "prod.yaml: not a mapping of sections"),
        ("worker: 3\n", "prod.yaml, line 1: worker: not a mapping of keys"),
        ("[" * 5000, "prod.yaml: nested too deeply"),
        (
            "#" * (1 << 21),
            "prod.yaml: too large for a configuration (allowed: up to 65536 bytes)",
        ),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(
    content: str | bytes, message: str, config: Callable[[str | bytes], Path]
) -> None:
    assert refused(content, config).startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_settings(tmp_path)


def test_a_date_stays_text(config: Callable[[str | bytes], Path]) -> None:
    assert load_settings(config("worker: {id: 2026-99-99}")).worker.id == "2026-99-99"


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_whatever_a_file_holds_a_config_error_is_the_worst(content: str | bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content.encode("utf-8", "replace") if isinstance(content, str) else content)
        file.flush()
        try:
            load_settings(Path(file.name))
        except ConfigError as error:
            said = str(error)
        else:
            said = ""
    assert "\n" not in said


# The environment and flags


def test_every_key_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "DATABASE__DSN": "postgresql://env@db/app",
        "DATABASE__DSN_FILE": "null",
        "DATABASE__TABLE": "jobs",
        "DATABASE__SCHEMA": "12",
        "DATABASE__POOLER": "transaction",
        "TASKS__MODULES": "one, two.three",
        "WORKER__ID": "7",
        "WORKER__PROCESSES": "3",
        "WORKER__CONCURRENCY": "4",
        "WORKER__BATCH_SIZE": "5",
        "WORKER__POLLING_INTERVAL": "1s",
        "WORKER__HEARTBEAT_TIMEOUT": "1m",
        "WORKER__HEARTBEAT_INTERVAL": "20s",
        "WORKER__SHUTDOWN_TIMEOUT": "2s",
        "WORKER__MAX_CRASHES": "6",
        "WORKER__STALL_TIMEOUT": "3m",
        "WORKER__MAX_EXECUTIONS_PER_PROCESS": "1000",
        "WORKER__MAX_MEMORY_PER_PROCESS": "512MB",
        "WORKER__MAINTENANCE_INTERVAL": "2d",
        "MONITORING__HOST": "::1",
        "MONITORING__PORT": "9187",
        "MONITORING__TOKEN": "s3cret",
        "LOGGING__FORMAT": "json",
        "LOGGING__LEVEL": "WARNING",
    }
    shown = settings_as_shown(load_settings(None))
    assert {f"{section}__{key}".upper() for section in shown for key in shown[section]} == {*values}
    for name, text in values.items():
        monkeypatch.setenv(f"PGSCHED_{name}", text)
    assert settings_as_shown(load_settings(None)) == {
        "database": {
            "dsn": "postgresql://env@db/app",
            "dsn_file": None,
            "table": "jobs",
            "schema": "12",
            "pooler": "transaction",
        },
        "tasks": {"modules": ["one", "two.three"]},
        "worker": {
            "id": "7",
            "processes": 3,
            "concurrency": 4,
            "batch_size": 5,
            "polling_interval": "1s",
            "heartbeat_timeout": "1m",
            "heartbeat_interval": "20s",
            "shutdown_timeout": "2s",
            "max_crashes": 6,
            "stall_timeout": "3m",
            "max_executions_per_process": 1000,
            "max_memory_per_process": 512_000_000,
            "maintenance_interval": "2d",
        },
        "monitoring": {"host": "::1", "port": 9187, "token": "***"},
        "logging": {"format": "json", "level": "warning"},
    }


def test_a_variable_overrides_the_file_and_leaves_its_neighbours(
    monkeypatch: pytest.MonkeyPatch, config: Callable[[str | bytes], Path]
) -> None:
    monkeypatch.setenv("PGSCHED_WORKER__PROCESSES", "3")
    settings = load_settings(config("worker: {processes: 5, batch_size: 6}"))
    assert (settings.worker.processes, settings.worker.batch_size) == (3, 6)
    assert settings.overrides == ("PGSCHED_WORKER__PROCESSES",)


def test_modules_may_be_json_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSCHED_TASKS__MODULES", '["one", "two"]')
    assert load_settings(None).tasks.modules == ("one", "two")


def test_null_in_a_variable_means_no_value(
    monkeypatch: pytest.MonkeyPatch, config: Callable[[str | bytes], Path]
) -> None:
    monkeypatch.setenv("PGSCHED_DATABASE__SCHEMA", "null")
    assert load_settings(config("database: {schema: app}")).database.schema_name is None


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSCHED_WORKER__PROCESSES", "")
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings(None).overrides == ()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PGSCHED_WORKER__FOO", "1", "PGSCHED_WORKER__FOO: worker.foo: unknown key"),
        ("PGSCHED_WORKR__PROCESSES", "1", "PGSCHED_WORKR__PROCESSES: workr: unknown section — did"),
        (
            "PGSCHED_WORKER__PROCESSES",
            "two",
            "PGSCHED_WORKER__PROCESSES: worker.processes: 'two' is",
        ),
        (
            "PGSCHED_WORKER__PROCESSES",
            "2.5",
            "PGSCHED_WORKER__PROCESSES: worker.processes: '2.5' is",
        ),
        ("PGSCHED_WORKER__PROCESSES", "0", "PGSCHED_WORKER__PROCESSES: worker.processes: 0 is out"),
        ("PGSCHED_WORKER__POLLING_INTERVAL", "5", "worker.polling_interval: '5' is no duration"),
        (
            "PGSCHED_TASKS__MODULES",
            '["one"',
            "PGSCHED_TASKS__MODULES: tasks.modules: '[\"one\"' is",
        ),
        ("DATABASE_URL", "mysql://u:p@h/d", "DATABASE_URL: database.dsn: the scheme mysql is not"),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as raised:
        load_settings(None)
    assert message in str(raised.value)


def test_variables_of_one_word_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "TEST_DSN", "PG_BIN", "WORKER", "DATABASE", "TASKS"):
        monkeypatch.setenv(f"PGSCHED_{name}", '{"processes": 7}')
    assert load_settings(None).worker.processes == 2


def test_the_dsn_is_the_flags_then_the_variables_then_the_files(
    monkeypatch: pytest.MonkeyPatch, config: Callable[[str | bytes], Path]
) -> None:
    file = config("database: {dsn: 'postgresql://file'}")
    assert load_settings(file).database.conninfo == "postgresql://file"
    monkeypatch.setenv("DATABASE_URL", "postgresql://url\n")
    assert load_settings(file).database.conninfo == "postgresql://url"
    monkeypatch.setenv("PGSCHED_DATABASE__DSN", "postgresql://variable")
    assert load_settings(file).database.conninfo == "postgresql://variable"
    assert load_settings(file, dsn="host=flag").database.conninfo == "host=flag"


def test_a_file_may_hold_the_dsn(
    monkeypatch: pytest.MonkeyPatch, config: Callable[[str | bytes], Path], tmp_path: Path
) -> None:
    """The stronger source has the word, whether it gives the DSN or names the file."""
    file = config("database: {dsn_file: secrets/dsn}")
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets/dsn").write_text("postgresql://app:s3cret@file\n")
    settings = load_settings(file)
    assert settings.database.conninfo == "postgresql://app:s3cret@file"
    assert settings_as_shown(settings)["database"]["dsn"] == "postgresql://app:***@file"
    monkeypatch.setenv("DATABASE_URL", "postgresql://url")
    assert load_settings(file).database.conninfo == "postgresql://url"
    monkeypatch.setenv("PGSCHED_DATABASE__DSN_FILE", "null")
    assert load_settings(file).database.conninfo == "postgresql://url"
    credential = tmp_path / "credential"
    credential.write_text("host=credential")
    monkeypatch.setenv("PGSCHED_DATABASE__DSN_FILE", str(credential))
    assert load_settings(file).database.conninfo == "host=credential"
    assert load_settings(file, dsn="host=flag").database.conninfo == "host=flag"


@pytest.mark.parametrize(
    ("database", "content", "message"),
    [
        ("{dsn_file: dsn, dsn: host=db}", b"host=db", "database.dsn_file: database.dsn is there"),
        ("{dsn_file: nowhere}", b"", "'nowhere' can't be read: No such file"),
        ("{dsn_file: dsn}", b" \n", "'dsn' is empty"),
        ("{dsn_file: dsn}", b"\xff", "'dsn' can't be read: not UTF-8"),
        ("{dsn_file: dsn}", b"x" * 100_000, "'dsn' is too large"),
        ("{dsn_file: 7}", b"", "database.dsn_file: 7 is no text"),
        ('{dsn_file: "a\\0b"}', b"", "database.dsn_file"),
    ],
)
def test_a_file_that_holds_no_dsn_is_refused(
    database: str, content: bytes, message: str, config: Callable[[str | bytes], Path]
) -> None:
    file = config(f"database: {database}")
    (file.parent / "dsn").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_settings(file)
    assert message in str(raised.value)
    assert str(file) in str(raised.value)


def test_what_is_wrong_with_a_dsn_in_a_file_names_the_file(
    config: Callable[[str | bytes], Path],
) -> None:
    file = config("database: {dsn_file: dsn}")
    (file.parent / "dsn").write_text("s3cret")
    with pytest.raises(ConfigError) as raised:
        load_settings(file)
    assert str(file.parent / "dsn") in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_flags_override_everything(
    monkeypatch: pytest.MonkeyPatch, config: Callable[[str | bytes], Path]
) -> None:
    monkeypatch.setenv("PGSCHED_WORKER__PROCESSES", "3")
    settings = load_settings(config("worker: {processes: 5}"), processes=7)
    assert settings.worker.processes == 7
    assert "--processes: worker.processes: 0 is out of bounds" in refused("", config, processes=0)


def test_no_dsn_at_all_says_where_one_may_be_given() -> None:
    with pytest.raises(
        ConfigError, match=r"database\.dsn: no database .*--dsn, PGSCHED_DATABASE__DSN"
    ):
        _ = load_settings(None).database.conninfo


@pytest.mark.parametrize("dsn", ["embedded", "embedded:/var/tmp/pg"])
def test_an_embedded_database_is_a_dsn(dsn: str) -> None:
    database = load_settings(None, dsn=dsn).database
    assert (database.conninfo, database.is_embedded) == (dsn, True)


# What is shown


def test_what_is_shown_is_a_configuration_that_says_the_same(
    config: Callable[[str | bytes], Path],
) -> None:
    file = config("worker: {heartbeat_timeout: 10s, id: null}\ntasks: {modules: [a]}\n")
    shown = settings_as_shown(load_settings(file))
    assert shown["worker"]["heartbeat_interval"] == "3s333.333ms"
    again = load_settings(config(yaml.safe_dump(shown)))
    assert settings_as_shown(again) == shown


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://app:s3cret@db:5432/app", "postgresql://app:***@db:5432/app"),
        ("postgres://app:s%333cret%40@db/app", "postgres://app:***@db/app"),
        ("postgresql://:s3cret@db", "postgresql://:***@db"),
        ("postgresql://app@db/app", "postgresql://app@db/app"),
        ("postgresql:///app?user=me&password=s3cret", "postgresql:///app?user=me&password=***"),
        ("postgresql://db/app?p%61ssword=s3cret", "postgresql://db/app?p%61ssword=***"),
        ("postgresql://db/app?sslmode=require", "postgresql://db/app?sslmode=require"),
        ("postgresql://a:s3cret@[::1]:5432,h2:3/app", "postgresql://a:***@[::1]:5432,h2:3/app"),
        ("postgresql://%2Frun%2Fpg/app", "postgresql://%2Frun%2Fpg/app"),
        ("host=db password=s3cret user=app", "host=db password=*** user=app"),
        ("host=db password = 's3 \\' cret' port=1", "host=db password=*** port=1"),
        ("host=db sslpassword=s3cret", "host=db sslpassword=***"),
        ("dbname=postgresql://a:s3cret@db/app", "dbname=***"),
        ("host=db,password=s3cret", "host=***"),
        ("host=db options='-c search_path=app'", "host=db options='-c search_path=app'"),
        ("embedded", "embedded"),
        ("embedded:/var/tmp/pg", "embedded:/var/tmp/pg"),
    ],
)
def test_a_dsn_is_shown_without_its_secrets(dsn: str, shown: str) -> None:
    assert masked_dsn(dsn) == shown


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:s3@cret@db/app",
        "postgresql://app:s3/cret@db/app",
        "postgresql://app:s3?cret@db/app",
        "postgresql://app:s3#cret@db/app",
        "postgresql://app:s3 cret@db/app",
        "postgresql://db/app&password=s3cret",
        "postgresql://db;password=s3cret/app",
        "password=s3 cret host=db",
        "password='s3cret host=db",
        "password='s3'cret host=db",
        "app:s3cret@db/app",
        "mysql://app:s3cret@db/app?x=y",
        "s3cret",
    ],
)
def test_a_dsn_that_cannot_be_taken_apart_is_not_shown(dsn: str) -> None:
    assert masked_dsn(dsn) == "(not shown: a DSN that can't be taken apart)"


@given(
    st.text(alphabet="s3:@/?#&=%' \\[],.é", min_size=1, max_size=12),
    st.sampled_from([
        "postgresql://app:{}XYZZY@db/app",
        "postgresql://app:XYZZY{}@db/app?sslmode=require",
        "postgresql://db/app?password=XYZZY{}",
        "host=db password=XYZZY{} user=app",
        "host=db password='{}XYZZY' user=app",
    ]),
)
def test_whatever_a_password_holds_no_dsn_shows_it(noise: str, form: str) -> None:
    assert "XYZZY" not in masked_dsn(form.format(noise))


@pytest.mark.parametrize("text", ["a=b ", "a= ", "a=a=", "postgresql://,", " ", "host='"])
def test_a_long_dsn_is_masked_at_once(text: str) -> None:
    """Guards the patterns against backtracking: with an ambiguous one a few dozen pairs take for ever."""
    started_at = time.perf_counter()
    masked_dsn(text * 5000 + "x")
    assert time.perf_counter() - started_at < 1.0


def test_a_secret_is_in_no_representation() -> None:
    settings = load_settings(None, dsn="postgresql://app:s3cret@db/app")
    assert "s3cret" not in f"{settings!r} {settings} {settings_as_shown(settings)}"


@pytest.mark.parametrize(
    "token", ["4711471147", "true", "'two words'", "''", "[s3cret]", "'" + "x" * 257 + "'"]
)
def test_a_wrong_token_is_refused_and_not_shown(
    token: str, config: Callable[[str | bytes], Path]
) -> None:
    said = refused(f"monitoring:\n  token: {token}\n", config)
    assert said.startswith("prod.yaml, line 2: monitoring.token: this ")
    assert "4711" not in said
    assert "s3cret" not in said
