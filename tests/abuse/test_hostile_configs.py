"""Configurations and variables made to break what reads them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgsched.config import load_settings
from pgsched.errors import ConfigError

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{name}, *{name}]\n"
    for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def refusal(content: str, folder: Path) -> str:
    file = folder / "prod.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        load_settings(file)
    return str(refused.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS, "prod.yaml, line 2: not YAML: aliases are not supported"),
        # To base 60, as YAML has it: more than a minute for the 65,536 bytes allowed, or an OverflowError.
        ("worker: {processes: 1" + ":1" * 30_000 + "}", "not YAML: a number has more than 40 char"),
        ("worker: {processes: 1" + ":1" * 30_000 + ".5}", "not YAML: a number has more than 40"),
        ("worker: {processes: 0x" + "f" * 60_000 + "}", "not YAML: a number has more than 40"),
        ("worker: {processes: 0x_}", "not YAML: invalid literal for int"),
        ("worker: {processes: 1000000}", "worker.processes: 1000000 is out of bounds"),
        ("worker: {processes: .inf}", "worker.processes: inf is no whole number"),
        ("worker: {polling_interval: .nan}", "worker.polling_interval: nan has no unit"),
        ("worker: {polling_interval: -5s}", "worker.polling_interval: '-5s' is no duration"),
        (f"worker: {{polling_interval: {'9' * 99}d}}", "is longer than 100 years"),
        ('worker: {id: "\\U00110000"}', "prod.yaml: not YAML: chr() arg not in range"),
        ('worker: {id: "\\ud800"}', "worker.id: '\\ud800' holds a character that can't be shown"),
        ('worker: {"\\ud800": 1}', "prod.yaml, line 1: not YAML: a key must be text"),
        ('"\\e[31m": {}', "prod.yaml, line 1: not YAML: a key must be text"),
        ('database: {dsn: "host=\\ud800"}', "database.dsn: this DSN is not UTF-8"),
        ('database: {table: "\\e[31m"}', "database.table: '\\x1b[31m' holds a character"),
        ("tasks: {modules: [" + "a.," * 20_000 + "]}", "tasks.modules: 'a.' is no import path"),
        ("".join("  " * level + "a:\n" for level in range(240)), "a: unknown section"),
        ("worker: {" + ",".join(f"k{n}: 1" for n in range(5_000)) + "}", "worker.k0: unknown key"),
    ],
)
def test_a_hostile_configuration_is_refused_soon_and_in_one_short_line(
    content: str, message: str, tmp_path: Path
) -> None:
    began = time.perf_counter()
    told = refusal(content, tmp_path)
    assert time.perf_counter() - began < 10
    assert message in told
    assert "\n" not in told
    assert len(told) < 600


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/null"])
def test_an_endless_file_is_not_read_to_its_end(device: str) -> None:
    if device == "/dev/null":
        assert load_settings(Path(device)).worker.processes == 2
        return
    with pytest.raises(ConfigError, match="too large for a configuration"):
        load_settings(Path(device))


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PGSCHED_TASKS__MODULES", "[" * 100_000, "tasks.modules: '\\[\\[\\[.* is no list"),
        ("PGSCHED_TASKS__MODULES", "[" + "9" * 5000 + "]", "tasks.modules: '\\[999.* is no list"),
        ("PGSCHED_WORKER__PROCESSES", "9" * 5000, "worker.processes: '999.* is no whole number"),
        ("PGSCHED_WORKER__PROCESSES", "\u0661", "is no whole number"),
        ("PGSCHED_WORKER__MAX_MEMORY_PER_PROCESS", "9" * 400 + "PB", "can't stand here"),
        ("PGSCHED_DATABASE__DSN", "host=\udc80", "database.dsn: this DSN is not UTF-8"),
        ("DATABASE_URL", "postgresql://\udc80", "database.dsn: this DSN is not UTF-8"),
        ("PGSCHED_\udc80__X", "x", "unknown section"),
        ("PGSCHED_WORKER__\udc80", "x", "unknown key"),
        ("PGSCHED___", "x", "unknown section"),
        ("PGSCHED_WORKER__ID__X", "x", "worker.id__x: unknown key"),
    ],
)
def test_a_hostile_variable_is_refused_by_its_name(
    variable: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=message) as refused:
        load_settings(None)
    assert len(str(refused.value)) < 600


PIECES = st.sampled_from([
    *(
        "worker:",
        "database:",
        "tasks:",
        "logging:",
        " processes: ",
        " id: ",
        " dsn: ",
        " modules: ",
    ),
    *(
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "? ",
        "&a ",
        "*a",
        "!!str ",
        "|\n",
        ">-\n",
        "#",
    ),
    *(
        "'",
        '"',
        "\\u",
        "\\x",
        "\\U",
        "d800",
        "1",
        ":1",
        ".5",
        "0x",
        "0b",
        "_",
        "e9",
        "~",
        "null",
        "yes",
    ),
    *(
        "<<: ",
        "=",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "\t",
        "\r",
        "\u2028",
        "\ufeff",
        "é",
        "1s",
        "host=a",
    ),
])


@settings(
    max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(PIECES, max_size=30))
def test_whatever_looks_like_a_configuration_is_one_or_a_config_error(
    pieces: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "prod.yaml"
    file.write_text("".join(pieces), newline="")
    said = ""
    try:
        load_settings(file)
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said
    said.encode()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    variable=st.sampled_from(["DATABASE__DSN", "TASKS__MODULES", "WORKER__ID", "WORKER__PROCESSES"])
    | st.sampled_from([
        "WORKER__POLLING_INTERVAL",
        "WORKER__MAX_MEMORY_PER_PROCESS",
        "LOGGING__LEVEL",
    ])
    | st.text(st.characters(codec="ascii", exclude_characters="=\0"), max_size=8).map(
        "A__{}".format
    ),
    value=st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"")),
)
def test_whatever_a_variable_holds_a_config_error_is_the_worst(
    variable: str, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(f"PGSCHED_{variable}", os.fsdecode(value))
        said = ""
        try:
            load_settings(None)
        except ConfigError as error:
            said = str(error)
        assert len(said) < 600
