"""JSON out, checked data in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any, Optional, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pgsched.domain.data import reader_of, shown_json, to_json
from pgsched.errors import InvalidData

texts = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


class Model(BaseModel):
    day: date
    count: int = 1


@dataclass
class Plain:
    day: date
    count: int = 1


class Keys(TypedDict):
    day: date
    count: int


class Some(TypedDict, total=False):
    inner: Keys


@given(documents)
def test_json_comes_back_as_it_was(document: Any) -> None:
    text = to_json(document)
    assert (None if text is None else json.loads(text)) == document


@pytest.mark.parametrize(
    "data",
    [
        float("nan"),
        [float("inf")],
        {"a": -float("inf")},
        "a\0b",
        {"a\0": 1},
        ["\ud800"],
        object(),
        {1, 2},
        b"bytes",
        {(1, 2): 3},
        Model,
    ],
)
def test_what_is_not_json_is_refused_before_anything_is_sent(data: object) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 InvalidData is one
        to_json(data)
    assert isinstance(refused.value, InvalidData)
    assert "\n" not in str(refused.value)


def test_what_is_nested_too_deeply_or_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for data in (endless, deep):
        with pytest.raises(InvalidData):
            to_json(data)


def test_the_text_of_an_escape_is_no_nul() -> None:
    assert to_json("\\u0000") == '"\\\\u0000"'


def test_models_and_dataclasses_are_written_as_objects() -> None:
    assert to_json({"x": Model(day=date(2027, 1, 1))}) == '{"x":{"day":"2027-01-01","count":1}}'
    assert to_json([Plain("2027-01-01")]) == '[{"day":"2027-01-01","count":1}]'  # type: ignore[arg-type]  # to be refused


@pytest.mark.parametrize("annotation", [Model, Plain, Keys])
def test_data_becomes_what_a_task_annotates(annotation: Any) -> None:
    read = reader_of(annotation)('{"day": "2027-01-01", "count": 2}')
    found = read if isinstance(read, dict) else vars(read)
    assert found == {"day": date(2027, 1, 1), "count": 2}


@pytest.mark.parametrize("annotation", [list[Keys], list[Keys] | None, Optional[list[Keys]]])  # noqa: UP045 both spellings are meant
def test_a_typed_dict_may_be_anywhere_in_an_annotation(annotation: Any) -> None:
    assert reader_of(annotation)('[{"day": "2027-01-01", "count": 2}]') == [
        {"day": date(2027, 1, 1), "count": 2}
    ]
    with pytest.raises(InvalidData, match="count"):
        reader_of(annotation)('[{"day": "2027-01-01"}]')


def test_a_typed_dict_may_leave_keys_out_and_hold_another() -> None:
    assert reader_of(Some)("{}") == {}
    assert reader_of(Some)('{"inner": {"day": "2027-01-01", "count": "2"}}')["inner"]["count"] == 2


@pytest.mark.parametrize("annotation", [Model, Plain, Keys, list[int], int | None])
@pytest.mark.parametrize("text", ['{"day": "no day"}', '"text"', "[1, {}]"])
def test_data_that_does_not_fit_says_where(annotation: Any, text: str) -> None:
    with pytest.raises(InvalidData, match="does not fit") as refused:
        reader_of(annotation)(text)
    assert refused.value.problems
    assert "\n" not in str(refused.value)


def test_no_data_does_not_fit_a_model() -> None:
    with pytest.raises(InvalidData):
        reader_of(Model)(None)


@pytest.mark.parametrize(
    ("annotation", "fits", "does_not"),
    [
        (dict, '{"a": 1}', "[1]"),
        (list, "[1]", "{}"),
        (str, '"a"', "1"),
        (int, "1", "true"),
        (int, "1", "1.5"),
        (float, "1", '"1"'),
        (float, "1.5", "false"),
        (bool, "true", "1"),
    ],
)
def test_plain_types_are_checked_and_no_data_passes(
    annotation: Any, fits: str, does_not: str
) -> None:
    read = reader_of(annotation)
    assert read(fits) == json.loads(fits)
    assert read(None) is None
    with pytest.raises(InvalidData, match="does not fit"):
        read(does_not)


@pytest.mark.parametrize("annotation", [Any, object])
def test_anything_is_anything(annotation: Any) -> None:
    assert reader_of(annotation)('{"a": 1}') == {"a": 1}


def test_what_is_nested_deeper_than_python_can_write_stays_text_for_a_reader() -> None:
    deep = "[" * 5000 + "]" * 5000
    assert shown_json(deep) == deep
    wide = "[" + "[],{}," * 5000 + '"[[[{\\"["]'
    assert len(shown_json(wide)) == 10_001


def test_numbers_beyond_pythons_stay_text_for_a_reader() -> None:
    shown = shown_json(f'{{"a": 1e400, "b": {"9" * 5000}, "c": 1.5, "d": 7}}')
    assert shown == {"a": "1e400", "b": "9" * 5000, "c": 1.5, "d": 7}
    json.dumps(shown, allow_nan=False)
