"""A YAML file as sections of keys, and the line of each key. Never knows which keys there are.

YAML is more than a configuration needs: tags, aliases and several documents are refused, dates stay text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode

from pgsched.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from yaml.nodes import Node

LONGEST_FILE_BYTES = 1 << 16
"""A configuration has some hundred bytes; what is larger than this is another file, and takes seconds to read."""

LONGEST_NUMBER = 40
"""Characters: numbers to base 60, which YAML has, take minutes to read where they are long enough."""

Key: TypeAlias = tuple[str, ...]
Document: TypeAlias = dict[str, Any]

_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """SafeLoader without what a configuration doesn't need and a slip or an attacker may use."""

    yaml_implicit_resolvers = {  # noqa: RUF012 as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs have gaps
        if isinstance(event, AliasEvent):
            raise _refusal("aliases are not supported", event)
        if getattr(event, "tag", None):
            raise _refusal("tags are not supported", event)
        node = super().compose_node(parent, index)
        if node is not None and node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise _refusal(f"a number has more than {LONGEST_NUMBER} characters", node)
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 as the base class has it
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != _TEXT or not key.value.isprintable():
                raise _refusal("a key must be text", key)
            if key.value in seen:
                raise _refusal(f"the key {key.value!r:.60} is there twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_document(file: Path) -> tuple[Document, dict[Key, str]]:
    """The sections of a file, and for each section and key where it stands: `prod.yaml, line 3`.

    Raises: ConfigError.
    """
    text = _text(file)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        document = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(file, error) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        raise ConfigError(problem, file=_place(file, line)) from None
    except RecursionError:
        raise ConfigError("nested too deeply", file=str(file)) from None
    except ValueError as error:  # a number without digits, a character that there is not
        raise ConfigError(f"not YAML: {error}", file=str(file)) from None
    if document is None:
        return {}, {}
    if not isinstance(root, MappingNode):
        raise ConfigError(
            "not a mapping of sections", file=str(file), allowed="section: {key: value}"
        )
    places = _places(file, root)
    return {name: _section(value, places, name) for name, value in document.items()}, places


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=str(file)) from None
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=str(file)) from None
    if len(content) > LONGEST_FILE_BYTES:
        raise ConfigError(
            "too large for a configuration",
            file=str(file),
            allowed=f"up to {LONGEST_FILE_BYTES} bytes",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"not UTF-8: byte 0x{content[error.start]:02X}", file=_place(file, line)
        ) from None


def _not_yaml(file: Path, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(", ".join(filter(None, (error.context, error.problem))).split())
    if r"'\t'" in problem:
        problem = "a tab can't indent, use spaces"
    return ConfigError(
        f"not YAML: {problem}", file=_place(file, mark.line + 1) if mark else str(file)
    )


def _refusal(problem: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, where.start_mark)


def _section(value: object, places: dict[Key, str], name: str) -> object:
    """A section whose keys are all commented out is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            "not a mapping of keys", key=name, file=places[name,], allowed="key: value"
        )
    return value


def _places(file: Path, root: MappingNode) -> dict[Key, str]:
    places: dict[Key, str] = {}
    for section, keys in root.value:
        places[section.value,] = _place(file, section.start_mark.line + 1)
        if isinstance(keys, MappingNode):
            for key, _ in keys.value:
                places[section.value, key.value] = _place(file, key.start_mark.line + 1)
    return places


def _place(file: Path, line: int) -> str:
    return f"{file}, line {line}"
