"""Reads pgsched's source as syntax trees: the same on every version of Python, and nothing is imported for it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@cache
def syntax(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def definition(module: str, name: str) -> ast.ClassDef:
    for node in syntax(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"{module} does not define {name}")


def assigned_names(node: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def literal(node: ast.stmt) -> Any:
    assert isinstance(node, ast.Assign)
    return ast.literal_eval(node.value)


def text_after(body: list[ast.stmt], index: int) -> list[str]:
    """The docstring of an assignment: the string that stands below it, if there is one."""
    match body[index + 1 : index + 2]:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return [" ".join(text.split())]
        case _:
            return []
