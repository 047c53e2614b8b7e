"""What is known of null terms: as recorded, by the architecture, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from example_snapshots import example

from beft_core.architectures.certified import MAKER, certified
from beft_core.snapshots.meta import SnapshotMeta


def meta(architecture: str, **more: Any) -> SnapshotMeta:
    given = {"null_terms": (), "null_elements": None, "versions": {}, **more}
    one = example(1).meta
    return replace(one, model=replace(one.model, architecture=architecture), **given)


def test_what_is_recorded_counts_before_the_architecture() -> None:
    known = certified(meta("llama", null_terms=("k",)))
    assert known.terms == ("k",) and known.unknown is None
    known = certified(meta("bert", null_elements={"k": ((0, 4),)}))
    assert known.terms == () and dict(known.elements) == {"k": ((0, 4),)}


@pytest.mark.parametrize(("architecture", "null"), [("bert", ("k",)), ("opt", ("k",)), ("llama", ())])
def test_without_a_record_the_rule_of_the_type_decides(architecture: str, null: tuple[str, ...]) -> None:
    known = certified(meta(architecture))
    assert known.terms == null and known.unknown is None and not known.elements


def test_what_depends_on_the_configuration_is_unknown() -> None:
    assert "depends on the configuration of the falcon model" in (certified(meta("falcon")).unknown or "")
    assert "none of the architectures of the lab" in (certified(meta("mystery")).unknown or "")


def test_an_older_release_certified_whole_terms_only() -> None:
    assert "some of its elements may be null" in (certified(meta("gpt_neox", versions={MAKER: "0.1"})).unknown or "")
    assert certified(meta("bert", versions={MAKER: "0.1"})).unknown is None
