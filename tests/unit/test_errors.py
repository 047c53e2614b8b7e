"""The one-line error: whatever is put in, one printable line of bounded length comes out."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from beft_core.errors import UserError


@given(st.text(), st.text(), st.text())
def test_message_is_one_bounded_printable_line(got: str, expected: str, try_: str) -> None:
    message = str(UserError(got, expected, try_))
    assert "\n" not in message and message.isprintable()
    assert len(message) <= 3 * 400 + 30


def test_parts_are_joined_and_survive_pickling() -> None:
    error = UserError("got 3 layers", "6 layers", "another base model")
    assert str(error) == "got 3 layers; expected 6 layers; try another base model"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
