"""The language-model head against transformers' own: values, gradients, memory, and where its weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS, VOCABULARY, inputs, tiny
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from beft_core.errors import UserError
from beft_core.models import lm_head
from beft_core.models.biases import LoadedModel
from beft_core.models.lm_head import LmHead, Screen
from beft_core.models.load import wrap

ON_GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))
DECODERS = [name for name in CONFIGS if tiny(name).layout.lm is not None]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "opt-projected": ("opt", {"word_embed_proj_dim": 16}),
    "opt-norm-after": ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "gpt2-untied": ("gpt2", {"tie_word_embeddings": False}),
    "gemma3-capped": ("gemma3_text", {"final_logit_softcapping": 2.0}),
}
"""Models of other configurations than the tiny ones: name -> (tiny model, what differs)."""


def causal(name: str, folder: Path) -> tuple[PreTrainedModel, LoadedModel]:
    """A random language model of transformers in float64, and the same as a base model with its files."""
    base, changes = VARIANTS.get(name, (name, {}))
    model_type, values = CONFIGS[base]
    torch.manual_seed(3)
    config = AutoConfig.for_model(model_type, **{**values, **changes})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float64)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, dtype=torch.float64) * 0.3)
    model.save_pretrained(folder)
    wrapped = wrap(model.base_model, id=name)
    wrapped.files = folder
    return model, wrapped


def asked(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states [n, width], and tokens of which several follow one state and one state has none."""
    generator = torch.Generator().manual_seed(5)
    flat = hidden.flatten(0, 1)
    rows = torch.tensor([0, 0, 2, 3, 4, 5, 6, 7, 8, 17, 9, 2])
    return flat, torch.randint(0, VOCABULARY, (len(rows),), generator=generator), rows


@pytest.mark.parametrize("name", [*DECODERS, *VARIANTS])
def test_log_probabilities_and_gradients_are_those_of_transformers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_head, "BLOCK", 4 * VOCABULARY)  # blocks of four rows, the last with two
    model, wrapped = causal(name, tmp_path)
    given = inputs(wrapped)
    with torch.no_grad():
        expected = model(**given).logits.log_softmax(-1).flatten(0, 1)
        states = wrapped.backbone(**given).last_hidden_state
    hidden, tokens, rows = asked(states)
    head = LmHead.of(wrapped)
    found = head.log_probs(hidden, tokens, rows)
    torch.testing.assert_close(found, expected[rows, tokens], rtol=0, atol=1e-10)
    torch.testing.assert_close(head.next(hidden), expected.argmax(-1), rtol=0, atol=0)

    chosen, whole = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    after = torch.zeros_like(rows)  # all after one state: the softmax over them needs no other token
    for given_to, score in ((chosen, head.chosen_logits), (whole, head.log_probs)):
        score(given_to, tokens, after).log_softmax(0)[3].backward()
    torch.testing.assert_close(chosen.grad, whole.grad, rtol=0, atol=1e-10)
    apart = head.chosen_logits(hidden, tokens, rows) - found
    torch.testing.assert_close(apart[rows == 2].diff(), torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-10)

    weights = torch.randn(len(rows), dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    ours, plain = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    (head.log_probs(ours, tokens, rows) * weights).sum().backward()
    logits = model.lm_head(plain)
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    (logits.log_softmax(-1)[rows, tokens] * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=0, atol=1e-10)
    assert plain.grad is not None and plain.grad.abs().max() > 1e-2


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_a_trained_weight_gets_its_gradient(softcap: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm_head, "BLOCK", 4 * VOCABULARY)
    torch.manual_seed(0)
    hidden, tokens, rows = asked(torch.randn(2, 9, 8, dtype=torch.float64))
    values = torch.randn(VOCABULARY, 8, dtype=torch.float64)
    gradients = []
    for frozen in (False, True):
        weight = values.clone().requires_grad_(not frozen)
        state = hidden.clone().requires_grad_()
        head = LmHead(weight, torch.ones(VOCABULARY, dtype=torch.float64), softcap)
        found = head.log_probs(state, tokens, rows)
        found.square().sum().backward()
        gradients.append(state.grad)
    torch.testing.assert_close(*gradients)
    trained, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
    LmHead(trained, None, softcap).log_probs(hidden, tokens, rows).square().sum().backward()
    LmHead(plain, None, softcap).logits(hidden).log_softmax(-1)[rows, tokens].square().sum().backward()
    torch.testing.assert_close(trained.grad, plain.grad)


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_half_precision_weights_give_logits_in_float32(device: str) -> None:
    torch.manual_seed(0)
    weight, hidden = torch.randn(500, 32).bfloat16().to(device), torch.randn(7, 32).bfloat16().to(device)
    tokens = torch.arange(7, device=device)
    found = LmHead(weight).log_probs(hidden.requires_grad_(), tokens)
    exact = (hidden.double() @ weight.double().T).log_softmax(-1)[tokens, tokens]
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)
    found.sum().backward()
    assert hidden.grad is not None and hidden.grad.dtype == torch.bfloat16
    with torch.autocast(device, torch.bfloat16):
        inside = LmHead(weight.float()).log_probs(hidden.float(), tokens)
    torch.testing.assert_close(inside, found, rtol=0, atol=1e-5)


def test_no_more_than_a_few_blocks_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm_head, "BLOCK", 2**16)
    vocabulary, n = 2**13, 256  # 32 blocks of 8 rows; all logits would be 2**21 numbers
    head = LmHead(torch.randn(vocabulary, 4))
    hidden = torch.randn(n, 4, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        head.log_probs(hidden, torch.zeros(n, dtype=torch.int64)).sum().backward()
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    assert 4 * 2**16 < peak < 5 * 4 * 2**16


def test_nothing_asked_and_nothing_there() -> None:
    head = LmHead(torch.randn(5, 3))
    empty = torch.zeros(0, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    head.log_probs(empty, none).sum().backward()
    assert head.next(empty).shape == (0,) and empty.grad is not None
    with pytest.raises(ValueError, match="positive"):
        LmHead(torch.randn(5, 3), softcap=0.0)


def test_the_tied_weight_is_the_embedding_itself(tmp_path: Path) -> None:
    _, wrapped = causal("gpt2", tmp_path)
    assert LmHead.of(wrapped).weight is wrapped.backbone.get_input_embeddings().weight
    assert wrapped.output is None


def test_another_head_in_the_checkpoint_is_believed_whatever_the_configuration_says(tmp_path: Path) -> None:
    model, wrapped = causal("gpt2-untied", tmp_path)
    wrapped.layout = tiny("gpt2").layout  # as if config.json said that the two were tied
    assert wrapped.layout.lm is not None and wrapped.layout.lm.tied
    head = LmHead.of(wrapped)
    torch.testing.assert_close(head.weight, model.lm_head.weight)
    assert LmHead.of(wrapped).weight is head.weight  # read once


def test_models_without_a_head(tmp_path: Path) -> None:
    for name in ("bert", "modernbert", "vit"):
        with pytest.raises(UserError, match="without a language-model head"):
            LmHead.of(tiny(name))
    with pytest.raises(UserError, match="in memory without lm_head"):
        LmHead.of(tiny("llama"))
    _, wrapped = causal("llama", tmp_path)
    wrapped.backbone.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"without lm_head\.weight; expected weights with their language-model head"):
        LmHead.of(wrapped)


@pytest.mark.parametrize("tokens", [4096, 4133])
def test_a_screen_finds_the_likeliest_token_of_all(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where tokens are so near to it that rounding would choose another, and the first of equal ones."""
    monkeypatch.setattr(Screen, "PART", 64)
    generator = torch.Generator().manual_seed(tokens)
    weight = torch.randn(tokens, 64, generator=generator)
    for near in (1, 70, 900, tokens - 2):
        weight[near] = weight[0] * (1 + 1e-3 * torch.randn(64, generator=generator))
    weight[-1] = weight[3]
    hidden = torch.cat([weight[[0, 3]] + 0.3, torch.randn(60, 64, generator=generator)])
    head = LmHead(weight)
    assert Screen.serves(head)
    monkeypatch.setattr(head, "next", lambda states: pytest.fail("everything was computed"))
    found = Screen(head).next(hidden)
    # Summed alike for every token: the parts of a product may be added in another order for the last rows, and then
    # the last token, which is the third once more, is no longer as likely to the last digit.
    logits = (hidden.double()[:, None] * weight.double()).sum(-1)
    assert torch.equal(found, logits.argmax(1)) and found[1] == 3
    rounded = (hidden.bfloat16() @ weight.bfloat16().T).argmax(1)
    assert (rounded != found).any()  # it is not for nothing


def test_a_screen_computes_all_where_it_rules_out_nothing() -> None:
    weight = torch.randn(2 * Screen.PART, 8, generator=torch.Generator().manual_seed(0))
    head = LmHead(weight)
    few = torch.randn(Screen.FEWEST - 1, 8)
    assert torch.equal(Screen(head).next(few), head.next(few))
    many = torch.zeros(Screen.FEWEST, 8)
    assert torch.equal(Screen(head).next(many), head.next(many))
    many[0] = torch.nan
    assert torch.equal(Screen(head).next(many), head.next(many))
    assert not Screen.serves(LmHead(weight, bias=torch.zeros(len(weight))))
    assert not Screen.serves(LmHead(weight.double())) and not Screen.serves(LmHead(weight[:100]))
