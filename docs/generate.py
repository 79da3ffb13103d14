"""Writes docs/reference/ from the code, so that it can't say anything else: `python -m docs.generate [--check]`.

Signatures and docstrings are read from the source as syntax trees, the command line and the config from their own
descriptions of themselves. Nothing here depends on a terminal, a clock or the version of Python. Prose that people
write belongs in the other folders of docs/.
"""

from __future__ import annotations

import inspect
import re
import sys
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from docs.api import api
from docs.markdown import fenced, table
from docs.source import ROOT, assigned_names, definition, literal, text_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pydantic.fields import FieldInfo

REFERENCE = ROOT / "docs" / "reference"
WRITTEN_BY = "<!-- Written by `make docs` from the code: changes made here are lost. -->"


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` only name those that are out of date; answers the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m docs.generate [--check]", file=sys.stderr)
        return 2
    stale = outdated()
    for path in stale:
        if arguments:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages()[path.name], encoding="utf-8")
    return 1 if arguments and stale else 0


def outdated() -> list[Path]:
    """The pages whose file is missing or says something else than the code."""
    return [
        REFERENCE / name
        for name, text in pages().items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != text
    ]


@cache
def pages() -> dict[str, str]:
    """Every page by its file name."""
    writers: dict[str, Callable[[], Iterable[str]]] = {
        "api.md": api,
        "cli.md": cli,
        "config.md": config,
        "events.md": events,
        "metrics.md": metrics,
        "schema.md": schema,
    }
    return {name: "\n\n".join([WRITTEN_BY, *write()]) + "\n" for name, write in writers.items()}


# The command line


COMPLETION = ("install_completion", "show_completion")
"""Typer's own options: one sentence says more than its words for them."""


def cli() -> Iterator[str]:
    """Every command with its arguments and options, as the command line itself knows them."""
    import typer

    from pgsched.cli.main import app

    root = typer.main.get_command(app)
    yield "# The command line"
    yield inspect.cleandoc(root.help or "")
    yield (
        "Results go to stdout, all else to stderr. "
        "`pgsched --install-completion` sets up the completion of your shell."
    )
    yield "## Exit statuses"
    yield table(("status", "meaning"), exit_statuses(root.epilog or ""))
    yield "## Everywhere"
    yield "Before the command's name, and (but for `--version`) after it:"
    everywhere: list[Any] = [shown for shown in root.params if shown.name not in COMPLETION]
    yield table(("option", "meaning"), [(parameter_name(p), p.help) for p in everywhere])
    known = {parameter_name(parameter) for parameter in everywhere}
    for path, command in sorted_commands(root, "pgsched"):
        yield from command_parts(path, command, known)


def exit_statuses(in_help: str) -> list[tuple[str, str]]:
    """As the help has them, and those that it leaves out."""
    told = dict(re.findall(r"(\d+) ([^;]+?)(?:;|\.?$)", in_help))
    body = definition("pgsched.cli.exits", "ExitStatus").body
    for index, node in enumerate(body):
        if assigned_names(node):
            told.setdefault(str(literal(node)), " ".join(text_after(body, index)))
    return sorted(((f"`{status}`", meaning) for status, meaning in told.items()), key=status_number)


def status_number(row: tuple[str, str]) -> int:
    return int(row[0].strip("`"))


def sorted_commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands of a group and of the groups in it, in the order of the help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from sorted_commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def command_parts(path: str, command: Any, known: set[str]) -> Iterator[str]:
    """One command. Typer changes its classes often: only what has been in them for long is asked for."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    own = [parameter for parameter in shown if parameter_name(parameter) not in known]
    has_options = len(own) > len(arguments)
    names = [parameter_name(parameter).strip("`") for parameter in arguments]
    yield f"## {path}"
    yield fenced(" ".join([path, *names, *["[OPTIONS]"] * has_options]), "text")
    yield inspect.cleandoc(command.help or "")
    if own:
        rows = [(parameter_name(p), default_of(p), p.help or "") for p in own]
        yield table(("argument or option" if arguments else "option", "default", "meaning"), rows)


def parameter_name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return f"`{name}`" if parameter.required else f"`[{name.strip('[]')}]`"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return f"`{names} {parameter.metavar}`" if parameter.metavar else f"`{names}`"


def default_of(parameter: Any) -> str:
    default = parameter.default
    return "" if default in (None, False, ()) else f"`{default}`"


# The config


def config() -> Iterator[str]:
    """Every key of the settings, in their order."""
    from pgsched.config import Settings

    yield "# The config"
    yield (
        "A YAML file: the one named by `--config` or `PGSCHED_CONFIG`, else `pgsched.yaml` in the current folder, else "
        "`/etc/pgsched/pgsched.yaml`. What overrides it, the strongest first: flags, `PGSCHED_SECTION__KEY`, and "
        "`DATABASE_URL` for the DSN. `pgsched config check` checks it, `pgsched config show` prints what is in force. "
        "An unknown key, a wrong type or an impossible pair is refused with exit status 78. "
        "`config.example.yaml` holds every key with its default."
    )
    for name, section in Settings.model_fields.items():
        assert isinstance(section.annotation, type)
        yield f"## {name}"
        yield inspect.cleandoc(section.annotation.__doc__ or "")
        yield table(
            ("key", "default", "allowed", "meaning", "variable"),
            [
                config_row(name, field.alias or key, field)
                for key, field in section.annotation.model_fields.items()
            ],
        )


def config_row(section: str, key: str, field: FieldInfo) -> tuple[str, ...]:
    assert isinstance(field.json_schema_extra, dict)
    return (
        f"`{section}.{key}`",
        f"`{as_yaml(field.default)}`",
        str(field.json_schema_extra["allowed"]),
        field.description or "",
        f"`PGSCHED_{section}__{key}`".upper(),
    )


def as_yaml(default: object) -> str:
    from pgsched.domain.duration import format_duration

    match default:
        case None:
            return "null"
        case timedelta():
            return format_duration(default)
        case tuple():
            return f"[{', '.join(default)}]"
        case _:
            return str(default)


# The log events


CONFIGURED = "as `logging.failures` says"
LEVELS = ["debug", "info", CONFIGURED, "warning", "error"]


def events() -> Iterator[str]:
    """The members of `Event`, each with the sentence below it and the levels it is logged at."""
    yield "# Log events"
    yield (
        "Each line of the log has `event`, `level` and `timestamp`, and facts as fields of their own. "
        "info: one line an execution and one a change of stage. warning: it healed itself, somebody should know. "
        "error: somebody must act."
    )
    levels = levels_by_member()
    body = definition("pgsched.log", "Event").body
    rows = [
        (f"`{literal(node)}`", ", ".join(levels.get(member, [])), *text_after(body, index))
        for index, node in enumerate(body)
        for member in assigned_names(node)
    ]
    yield table(("event", "level", "what happened"), rows)


def levels_by_member() -> dict[str, list[str]]:
    """Where the code says `….info(Event.NAME`, in the order of the levels."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "pgsched").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        said = re.findall(r"\.(\w+)\(\s*(?:[\w.]+_level, )?Event\.([A-Z_]+)", text)
        for called, member in said:
            level = CONFIGURED if called == "at" else called
            if level in LEVELS:
                found.setdefault(member, set()).add(level)
    return {member: sorted(levels, key=LEVELS.index) for member, levels in found.items()}


# The metrics


def metrics() -> Iterator[str]:
    """What a worker gives to Prometheus, in the order in which it does."""
    from pgsched.worker.metrics import METRICS, SECONDS, SIZES, Source

    yield "# Metrics"
    yield (
        "What a worker serves at `/metrics` where `monitoring.port` is set ([how-to](../how-to/monitoring.md)): "
        "one page for all of its processes. Counters only grow for as long as the worker lives, whatever becomes of "
        "its pollers. `task` is only ever a task that the modules declare."
    )
    yield table(
        ("metric", "type", "labels", "meaning"),
        [
            (f"`{each.name}`", each.kind, ", ".join(each.labels), each.meaning)
            for each in METRICS
            if each.source is Source.EACH
        ],
    )
    yield "## Sampled"
    yield (
        "Every 15 seconds by one worker of those that share a table, and absent at the others. Where that one has died "
        "another one takes over within a minute, where it ended in order within seconds."
    )
    yield table(
        ("metric", "type", "labels", "meaning"),
        [
            (f"`{each.name}`", each.kind, ", ".join(each.labels), each.meaning)
            for each in METRICS
            if each.source is Source.SAMPLER
        ],
    )
    yield "## Buckets"
    yield f"Of seconds: {numbers(SECONDS)}. Of batches: {numbers(SIZES)}."


def numbers(bounds: Iterable[float]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


# The schema


def schema() -> Iterator[str]:
    """The migrations as they are, and what every statement promises."""
    yield "# The schema"
    yield (
        "As `pgsched migrate` makes it with the default names; with `database.table: t` and `database.schema: s` "
        "every name follows. `pgsched migrate --dry-run` prints the SQL for yours. The twelve columns of migration "
        "0001 are a wire protocol: other programs insert, pick and complete rows of the same table, and their "
        "meaning never changes."
    )
    yield "## Migrations"
    yield (
        "Applied in order, each once; `scheduled_tasks_migrations` has a row for each (`version`, `name`, "
        "`applied_at`, and `works_with`: the oldest schema version that a release must know to go on after it)."
    )
    for path in sorted((ROOT / "migrations").glob("*.sql")):
        header, text = sql_parts(path)
        yield f"### {path.stem}"
        yield "\n".join(header)
        yield fenced(with_default_names(text), "sql")
    yield "## Statements"
    yield (
        "What pgsched says to the database, from `pgsched/store/sql/`. A promise is what callers may count on, a fence "
        "what keeps a stale writer out, a plan what the cost depends on."
    )
    for path in sorted((ROOT / "pgsched" / "store" / "sql").glob("*.sql")):
        header, _ = sql_parts(path)
        yield f"### {path.stem}"
        yield re.sub(r"\n(Promise|Fence|Plan):", r"\n\n\1:", "\n".join(header))


def sql_parts(path: Path) -> tuple[list[str], str]:
    """The comment that a file begins with, line by line, and the rest."""
    lines = path.read_text(encoding="utf-8").splitlines()
    length = next(
        (number for number, line in enumerate(lines) if not line.startswith("--")), len(lines)
    )
    return [line.removeprefix("--").strip() for line in lines[:length]], "\n".join(lines[length:])


def with_default_names(text: str) -> str:
    from pgsched.store.statement import Names

    for key, identifier in Names().identifiers().items():
        text = text.replace(f"{{{key}}}", identifier.as_string(None).replace('"', ""))
    return text.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
