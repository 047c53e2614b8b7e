"""Other names of options, and what was most likely meant by a name that is none."""

from __future__ import annotations

import pytest

from beft_core.settings.aliases import ALIASES, canonical, closest, others

OWN = ["--lr", "--epochs", "--batch-size", "--out", "--evaluate"]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("--lr", "--lr"),
        ("--learning-rate", "--lr"),
        ("--learning_rate", "--lr"),
        ("--num_train_epochs", "--epochs"),
        ("--per_device_train_batch_size", "--batch-size"),
        ("--batch_size", "--batch-size"),
        ("--output-dir", "--out"),
        ("--evaluate-when", "--evaluate"),
        ("--max-seq-length", None),  # stands for an option that this command does not have
        ("--nonsense", None),
    ],
)
def test_a_name_stands_for_one_option(name: str, option: str | None) -> None:
    assert canonical(name, OWN) == option


def test_of_several_options_it_is_the_first_that_there_is() -> None:
    assert canonical("--learning-rate", ["--lrs"]) == "--lrs"
    assert canonical("--learning-rate", ["--lrs", "--lr"]) == "--lr"
    assert canonical("--learning-rate", ["--learning-rate", "--lr"]) == "--learning-rate"  # its own comes first


def test_no_alias_hides_an_option_of_its_name() -> None:
    own = ["--lr", "--learning-rate"]
    assert others("--lr", own) == []
    assert set(others("--lr", ["--lr"])) == {"--learning-rate", "--learning_rate"}


@pytest.mark.parametrize(
    ("unknown", "option"),
    [
        ("--epoch", "--epochs"),
        ("--learning-rat", "--lr"),
        ("--batchsize", "--batch-size"),
        ("--num_epoch", "--epochs"),
        ("--outdir", "--out"),
        ("--zzzzzz", None),
    ],
)
def test_what_was_most_likely_meant(unknown: str, option: str | None) -> None:
    assert closest(unknown, OWN) == option


def test_each_alias_is_written_with_dashes_and_stands_for_something() -> None:
    assert all(name.startswith("--") and "_" not in name and targets for name, targets in ALIASES.items())
    assert not {target for targets in ALIASES.values() for target in targets} & set(ALIASES)
