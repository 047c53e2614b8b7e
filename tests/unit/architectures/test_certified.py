"""What is known of null terms: the record first, then the architecture's rule, then nothing, with the reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from example_snapshots import example

from beft_core.architectures.certified import MAKER, certified
from beft_core.snapshots.meta import SnapshotMeta


def of(architecture: str, versions: dict[str, str] | None = None, **fields: Any) -> SnapshotMeta:
    """Metadata of a model of a type, by default from elsewhere and without a certificate."""
    meta = example().meta
    model = dataclasses.replace(meta.model, architecture=architecture)
    fields = {"null_terms": (), "null_elements": None} | fields
    return dataclasses.replace(meta, model=model, versions=versions or {}, **fields)


def test_the_record_goes_before_the_rule() -> None:
    found = certified(of("bert", null_terms=("q",)))
    assert (found.terms, dict(found.elements), found.unknown) == (("q",), {}, None)
    elements = {"k": ((4, 16),)}
    assert certified(of("bert", null_elements=elements)).elements == elements
    # A certificate that found none is one, too.
    assert certified(of("bert", null_elements={})).terms == ()


def test_a_file_from_elsewhere_goes_by_its_model_type() -> None:
    assert certified(of("bert")).terms == ("k",)  # softmax does not see what all keys share
    assert certified(of("bert")).unknown is None
    assert certified(of("llama")).terms == ()  # rotary positions turn the key's bias


@pytest.mark.parametrize(("name", "said"), [("no-such-type", "no-such-type is none of"), ("", "its architecture is")])
def test_an_unknown_type_is_told(name: str, said: str) -> None:
    meta = of("bert")
    object.__setattr__(meta.model, "architecture", name)
    found = certified(meta)
    assert found.terms == ()
    assert found.unknown is not None and said in found.unknown


def test_an_earlier_release_of_the_lab_looked_at_whole_terms_only() -> None:
    assert certified(of("bert", {MAKER: "0.1.0"})).unknown is None
    assert certified(of("bert", {MAKER: "0.1.0"})).terms == ()
    partial = certified(of("gpt_neox", {MAKER: "0.1.0"}))
    assert partial.unknown is not None and "before that was noted" in partial.unknown
