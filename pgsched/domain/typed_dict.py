"""`typing.TypedDict` as pydantic takes it. To be deleted with Python 3.11: from 3.12 on there is nothing to do."""

from __future__ import annotations

import sys
from types import GenericAlias, UnionType
from typing import Any, Union, get_args, get_type_hints, is_typeddict


def taken_by_pydantic(annotation: Any) -> Any:
    """The annotation, with each `typing.TypedDict` in it remade: before Python 3.12 pydantic takes only those of
    typing_extensions.
    """
    if sys.version_info >= (3, 12):
        return annotation
    if is_typeddict(annotation) and type(annotation).__module__ == "typing":
        return _remade(annotation)
    if arguments := get_args(annotation):
        remade = tuple(map(taken_by_pydantic, arguments))
        if remade != arguments:
            return _with_arguments(annotation, remade)
    return annotation


def _with_arguments(annotation: Any, arguments: tuple[Any, ...]) -> Any:
    if isinstance(annotation, UnionType):
        return Union[arguments]  # noqa: UP007 the arguments are known at run time only
    if isinstance(annotation, GenericAlias):
        origin: Any = annotation.__origin__
        return GenericAlias(origin, arguments)
    return annotation.copy_with(arguments)


def _remade(typed_dict: Any) -> Any:
    from typing import NotRequired, Required

    from typing_extensions import TypedDict

    hints = get_type_hints(typed_dict)
    keys = {
        key: Required[hint] if key in typed_dict.__required_keys__ else NotRequired[hint]
        for key, hint in ((key, taken_by_pydantic(hint)) for key, hint in hints.items())
    }
    make: Any = TypedDict
    return make(typed_dict.__name__, keys)
