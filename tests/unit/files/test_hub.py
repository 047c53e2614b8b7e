"""Whether the Hub can be reached, and where its cache lies."""

from __future__ import annotations

import time

import huggingface_hub.utils
import pytest

from beft_core.files import hub


def test_a_hub_that_never_answers_costs_no_more_than_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def head(self, *_: object, **__: object) -> None:
            time.sleep(60)

    monkeypatch.setattr(hub, "HUB_PATIENCE", 0.05)
    monkeypatch.setattr(hub, "offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Silent)
    assert not hub.hub_answers()
