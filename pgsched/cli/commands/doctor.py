"""`pgsched doctor`: what is wrong, worst first, and the words that mend it."""

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from pgsched.cli.arguments import AsJson, ConfigFile, Dsn
from pgsched.cli.database import connected, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import now, say, say_json, write
from pgsched.domain.text import printable

if TYPE_CHECKING:
    from pgsched.config import Settings
    from pgsched.doctor.checkup import Report
    from pgsched.doctor.finding import Finding
    from pgsched.doctor.known import Configured

COLOURS = {"critical": "red", "warning": "yellow", "note": "cyan"}


def doctor(as_json: AsJson = False, config: ConfigFile = None, dsn: Dsn = None) -> None:
    """Check the database and the workers: what is wrong, worst first, and what mends it.

    Changes nothing. Exits 1 where something is wrong (critical or warning), 0 where there are notes at most.
    """
    report = _report(settings_from(config, dsn), has_dsn=dsn is not None)
    if as_json:
        say_json(_as_document(report))
    else:
        _print(report)
    raise typer.Exit(ExitStatus.DONE if report.is_well else ExitStatus.CANNOT)


def _report(settings: "Settings", *, has_dsn: bool) -> "Report":
    from pgsched.doctor.checkup import check_up
    from pgsched.store.connecting import connection
    from pgsched.store.statement import Names

    configured = _configured(settings, has_dsn=has_dsn)
    names = Names(settings.database.table, settings.database.schema_name)
    with connected(settings) as conninfo, connection(conninfo) as opened:
        return check_up(opened, names, configured, now)


def _configured(settings: "Settings", *, has_dsn: bool) -> "Configured":
    from pgsched.doctor.known import Configured
    from pgsched.errors import ConfigError
    from pgsched.registry import load_tasks

    tasks, problem = None, None
    if settings.tasks.modules:
        try:
            tasks = load_tasks(settings.tasks.modules, settings.folder)
        except ConfigError as error:
            problem = str(error)
    return Configured(
        is_given=settings.file is not None or bool(settings.tasks.modules),
        file=str(settings.file) if settings.file else None,
        has_dsn=has_dsn,
        is_pooled=settings.database.pooler is not None,
        heartbeat_timeout=settings.worker.heartbeat_timeout,
        tasks=tasks,
        problem=problem,
    )


def _print(report: "Report") -> None:
    for check, finding in report.findings:
        write(f"{_severity(finding)}  {printable(finding.title)}\n")
        say(f"          {finding.explanation} [{check}]")
        for line in _fix_lines(finding):
            say(f"            {line}")
        say("")
    for result in report.results:
        if result.unknown is not None:
            say(f"unknown   {result.check}: {result.unknown}")
    for result in report.results:
        if result.unknown is None and not result.findings:
            say(f"ok        {result.check}: {result.looks_at}")


def _severity(finding: "Finding") -> str:
    name = finding.severity.value
    is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(f"{name:8}", fg=COLOURS[name], bold=True) if is_coloured else f"{name:8}"


def _fix_lines(finding: "Finding") -> list[str]:
    if finding.fix is None:
        return []
    prompt = {"shell": "$ ", "config": "pgsched.yaml: "}.get(finding.fix.language, "")
    return [f"{prompt}{line}" for line in finding.fix.lines]


def _as_document(report: "Report") -> dict[str, Any]:
    return {
        "is_well": report.is_well,
        "findings": [
            {
                "check": check,
                "severity": finding.severity.value,
                "title": finding.title,
                "explanation": finding.explanation,
                "fix": finding.fix
                and {"language": finding.fix.language, "lines": list(finding.fix.lines)},
                "facts": dict(finding.facts),
            }
            for check, finding in report.findings
        ],
        "checks": [
            {
                "check": result.check,
                "looks_at": result.looks_at,
                "findings": len(result.findings),
                "unknown": result.unknown,
            }
            for result in report.results
        ],
    }
