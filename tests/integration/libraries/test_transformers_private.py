"""The private name of transformers says what the public setter set."""

from __future__ import annotations

from tiny_models import tiny

from beft_core.libraries.transformers_private import attention_name


def test_the_attention_that_is_used_now() -> None:
    for name in ("eager", "sdpa"):
        assert attention_name(tiny("bert", attn=name).backbone) == name
    backbone = tiny("bert", attn="sdpa").backbone
    backbone.set_attn_implementation("eager")
    assert attention_name(backbone) == "eager"
