"""Functions and classes by their names."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.imports import imported


def test_a_name_leads_to_what_it_names() -> None:
    assert imported("beft_core.errors:UserError") is UserError


@pytest.mark.parametrize("name", ["beft_core.nowhere:UserError", "beft_core.errors:Nothing", "beft_core.errors"])
def test_a_name_of_nothing_is_a_defect(name: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        imported(name)
