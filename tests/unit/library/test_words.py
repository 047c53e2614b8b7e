"""Messages of the engine in the words of Python."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.library.words import in_python, keywords


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("got --n-train 5000", "got n_train=5000"),
        ("--lr 4e-4", "lr=4e-4"),
        ("got --train-file without --text and --label", "got data without text and label"),
        ("--terms v, or --terms all", 'terms="v", or terms="all"'),
        ("try --add-bias q k v to give it", 'try add_bias=("q", "k", "v") to give it'),
        ("--terms mlp_in mlp_out", 'terms=("mlp_in", "mlp_out")'),
        ("got --terms w for --terms TERM", "got terms w for terms TERM"),
        ("below 2**32 with --sampler randomstate", "below 2**32 with sampler randomstate"),
        ("name a file, --file my-films=FILE", "name a file, data={'my-films': table}"),
        ("--layers 3-5", "layers 3-5"),
        ("with --no-snapshots, those stay", "with snapshots=False, those stay"),
        ("no flag – at all", "no flag – at all"),
        ("try pip install --no-deps a-model==1.0", "try pip install --no-deps a-model==1.0"),
    ],
)
def test_flags_become_keywords(flags: str, said: str) -> None:
    assert keywords(flags) == said


def test_a_function_raises_with_keywords_and_keeps_its_name() -> None:
    @in_python
    def fails(number: int) -> None:
        """Fail."""
        raise UserError(f"got --n-train {number}", "--epochs", "--lr 1")

    assert fails.__name__ == "fails" and fails.__doc__ == "Fail."
    with pytest.raises(UserError) as caught:
        fails(3)
    assert (caught.value.got, caught.value.expected, caught.value.try_) == ("got n_train=3", "epochs", "lr=1")


def test_other_errors_pass() -> None:
    @in_python
    def fails() -> None:
        raise KeyError("--lr")

    with pytest.raises(KeyError, match="--lr"):
        fails()
