"""JSON and the type a task annotates: what is sent is strict JSON, what arrives is checked before a task is called.

Never guesses: data that doesn't fit is an `InvalidData`, which is a failure of that execution alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING, Any

from pgsched.domain.typed_dict import taken_by_pydantic
from pgsched.errors import InvalidData

if TYPE_CHECKING:
    from collections.abc import Callable

UNCHECKED = frozenset({Any, object, type(None)})
PLAIN_TYPES: dict[Any, tuple[type, ...]] = {
    dict: (dict,),
    list: (list,),
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
}
"""What JSON is made of: checked without pydantic, which takes 250 ms to load. No data at all (null) always passes."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SHOWN_PROBLEMS = 5

DEEPEST_SHOWN = 300
"""Levels of nesting: writing what is deeper exceeds Python's stack."""

LONGEST_WHOLE_NUMBER = 4000
"""Digits: Python refuses to convert more than 4,300, as that takes quadratic time."""


def to_json(data: object) -> str | None:
    """JSON text as RFC 8259 has it; None (no data) stays None.

    Pydantic models and dataclasses are written as the objects they stand for.
    Raises: InvalidData for NaN, infinities, NUL characters, lone surrogates, and what has no JSON form.
    """
    if data is None:
        return None
    try:
        text = _ENCODER.encode(data)
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidData("data holds a lone surrogate, which JSON can't carry") from None
    except RecursionError:
        raise InvalidData("data is nested too deeply, or holds itself") from None
    except (TypeError, ValueError) as error:
        raise InvalidData(f"data is not JSON: {error}") from None
    if "\\u0000" in text and _NUL.search(text):
        raise InvalidData("data holds a NUL character, which Postgres can't store")
    return text


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"a {type(value).__qualname__} has no JSON form")


_ENCODER = json.JSONEncoder(
    allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain
)
"""Made once: `json.dumps` makes one for each call that wants something else than its defaults."""


def shown_json(text: str) -> Any:
    """JSON for a reader; what Python can't hold or can't write again stays text: huge numbers, very deep nesting."""
    if _is_deep(text):
        return text
    return json.loads(text, parse_int=_whole_number, parse_float=_number)


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST_SHOWN:
        return False
    depth = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        depth += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, depth)
    return deepest > DEEPEST_SHOWN


def _whole_number(text: str) -> int | str:
    return int(text) if len(text) <= LONGEST_WHOLE_NUMBER else text


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def reader_of(annotation: object) -> Callable[[str | None], Any]:
    """A function from JSON text to what a task's data is annotated with. Raises: InvalidData, when called."""
    try:
        if annotation in UNCHECKED:
            return _read_json
        if annotation in PLAIN_TYPES:
            return _reading_plain(annotation)
    except TypeError:  # not hashable: nothing plain
        pass
    return _validating(annotation)


def _read_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _reading_plain(annotation: Any) -> Callable[[str | None], Any]:
    allowed = PLAIN_TYPES[annotation]

    def read(text: str | None) -> Any:
        data = _read_json(text)
        if data is None or (type(data) in allowed):
            return data
        problem = f"data: must be {annotation.__name__}, not {type(data).__name__}"
        raise InvalidData("the data does not fit what the task takes", problems=[problem])

    return read


def _validating(annotation: object) -> Callable[[str | None], Any]:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(taken_by_pydantic(annotation))

    def read(text: str | None) -> Any:
        try:
            return adapter.validate_json("null" if text is None else text)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)[
                    :_SHOWN_PROBLEMS
                ]
            ]
            raise InvalidData(
                "the data does not fit what the task takes", problems=problems
            ) from None

    return read
