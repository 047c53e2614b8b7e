"""The one-line error: whatever is put in, one printable line of bounded length comes out."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beft_core.errors import ModelNotHere, NotConverted, UserError, out_of_memory


@given(st.text(), st.text(), st.text())
def test_message_is_one_bounded_printable_line(got: str, expected: str, try_: str) -> None:
    message = str(UserError(got, expected, try_))
    assert "\n" not in message and message.isprintable()
    assert len(message) <= 3 * 400 + 30


def test_parts_are_joined_and_survive_pickling() -> None:
    error = UserError("got 3 layers", "6 layers", "another base model")
    assert str(error) == "got 3 layers; expected 6 layers; try another base model"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_kinds_survive_pickling_too() -> None:
    error = pickle.loads(pickle.dumps(NotConverted("got a file", "a model")))
    assert isinstance(error, ModelNotHere) and str(error) == "got a file; expected a model"


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_a_defect(error: BaseException, lacking: bool) -> None:
    assert out_of_memory(error) is lacking
