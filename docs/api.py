"""The page about the Python API: what `pgsched` exports, with signatures and docstrings as they are written."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from docs.markdown import fenced
from docs.source import assigned_names, syntax, text_after

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_LINE = 88
"""Signatures longer than this get a line for each parameter."""

HEADINGS = {
    "pgsched.domain.task": "Declaring tasks",
    "pgsched.domain.context": "Inside a task",
    "pgsched.domain.schedule": "Schedules",
    "pgsched.domain.failure": "Failure handlers",
    "pgsched.client": "Clients",
    "pgsched.domain.execution": "Executions",
    "pgsched.errors": "Errors",
}

GIVEN = ("ExecutionContext", "Failure", "Execution", "FailedExecution")
"""Users are handed these, and never make one."""


def api() -> Iterator[str]:
    """Everything that `pgsched` exports, under the heading of the module it lives in."""
    import pgsched

    yield "# The Python API"
    yield "All of it is imported from `pgsched`."
    homes = pgsched._HOMES
    for home in [*HEADINGS, *(home for home in homes if home not in HEADINGS)]:
        yield f"## {HEADINGS[home]}"  # a KeyError: give the new module its heading
        for name in homes[home]:
            yield f"### {name}"
            yield from exported(home, name)
    assert sorted(name for names in homes.values() for name in names) == sorted(pgsched.__all__)


def exported(module: str, name: str) -> Iterator[str]:
    tree = syntax(module)
    for index, node in enumerate(tree.body):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            yield from exported(node.module or "", name)
            return
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield from class_parts(
                node, is_made_by_users=name not in GIVEN and "errors" not in module
            )
            return
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield fenced(signature(node))
            yield ast.get_docstring(node) or ""
            return
        if name in assigned_names(node):
            yield fenced(code(node))
            yield from text_after(tree.body, index)
            return
    raise LookupError(f"{module} does not define {name}")


def class_parts(node: ast.ClassDef, *, is_made_by_users: bool) -> Iterator[str]:
    yield fenced((is_made_by_users and constructor(node)) or class_line(node))
    yield ast.get_docstring(node) or ""
    items = [member_item(member) for member in node.body if is_public(member)]
    if not is_made_by_users:
        items = [f"- `{code(field)}`" for field in fields_of(node)] + items
    if items:
        yield "\n".join(items)


def class_line(node: ast.ClassDef) -> str:
    bases = ", ".join(code(base) for base in node.bases)
    return f"class {node.name}({bases})" if bases else f"class {node.name}"


def constructor(node: ast.ClassDef) -> str | None:
    """How an instance is made: by `__init__`, or by the fields of a dataclass or named tuple."""
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return signature(member, name=node.name)
    fields = [code(field) for field in fields_of(node)]
    star = ["*"] if any("kw_only=True" in code(d) for d in node.decorator_list) else []
    return laid_out(f"{node.name}(", star + fields, ")") if fields else None


def fields_of(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [
        member
        for member in node.body
        if isinstance(member, ast.AnnAssign) and "init=False" not in code(member)
    ]


def is_public(member: ast.stmt) -> bool:
    """A method, property or constant that users may know."""
    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
        return not member.name.startswith("_")
    return isinstance(member, ast.Assign) and not assigned_names(member)[0].startswith("_")


def member_item(member: ast.stmt) -> str:
    if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"- `{code(member)}`"
    if any(code(decorator) == "property" for decorator in member.decorator_list):
        assert member.returns is not None
        line = f"{member.name}: {code(member.returns)}"
    else:
        line = signature(member, longest=sys.maxsize)
    says = " ".join((ast.get_docstring(member) or "").split())
    return f"- `{line}`\\\n  {says}" if says else f"- `{line}`"


def signature(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    *,
    name: str | None = None,
    longest: int = ONE_LINE,
) -> str:
    """As it is written, but for `self`; a constructor under the `name` of its class."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    parts = [written(*pair) for pair in zip(positional, defaults, strict=True)]
    if given.posonlyargs:
        parts.insert(len(given.posonlyargs), "/")
    if given.vararg:
        parts.append(f"*{written(given.vararg)}")
    elif given.kwonlyargs:
        parts.append("*")
    parts += [written(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append(f"**{written(given.kwarg)}")
    parts = [part for part in parts if part != "self"]
    if name is not None:
        return laid_out(f"{name}(", parts, ")", longest)
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    end = f") -> {code(node.returns)}" if node.returns else ")"
    return laid_out(f"{keyword} {node.name}(", parts, end, longest)


def written(parameter: ast.arg, default: ast.expr | None = None) -> str:
    text = code(parameter)
    if default is None:
        return text
    return f"{text} = {code(default)}" if ":" in text else f"{text}={code(default)}"


def laid_out(start: str, parts: list[str], end: str, longest: int = ONE_LINE) -> str:
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) <= longest:
        return line
    return "\n".join([start, *(f"    {part}," for part in parts), end])


def code(node: ast.AST) -> str:
    """As it is written but for its layout, in double quotes."""
    text = ast.unparse(node)
    return text if '"' in text else text.replace("'", '"')
