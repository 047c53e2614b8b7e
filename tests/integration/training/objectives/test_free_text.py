"""Greedy answers in batches that shrink, against transformers' own ``generate`` for one prompt at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import Prompts, tiny_decoder
from tiny_models import CONFIGS, VOCABULARY
from transformers import AutoConfig, AutoModelForCausalLM

from beft_core.errors import UserError
from beft_core.models.biases import add_zero_bias, set_bias
from beft_core.models.lm_head import Screen
from beft_core.models.load import wrap
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Encoded, Writing
from beft_core.training.batches.prompted import encode_questions
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.objectives import free_text
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision
from beft_core.training.predict import Predictor
from beft_core.training.session import Session

CPU = torch.device("cpu")
END, NEWLINES = 2, range(7, 20)
WRITING = Writing(max_new_tokens=12, ending="\n")


class Written(Prompts):
    """Some of the tokens hold a newline, one of them after a word."""

    eos_token_id = END

    def decode(self, tokens: list[int], skip_special_tokens: bool = False) -> str:
        texts = dict.fromkeys(NEWLINES, "\n") | {8: " end\n\n"}
        kept = [token for token in tokens if not (skip_special_tokens and token in (0, 1, END))]
        return "".join(texts.get(token, f" w{token}") for token in kept)


@pytest.mark.parametrize("name", ["opt", "gpt2", "gpt_neox", "bloom", "qwen2", "qwen2-sliding", "llama"])
def test_answers_are_those_of_transformers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model_type, values = CONFIGS[name]
    config = AutoConfig.for_model(model_type, **{**values, "tie_word_embeddings": True, "initializer_range": 0.5})
    peer: Any = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    model = wrap(peer.base_model, Written(), id=name)
    add_zero_bias(model, "v")
    bank = Bank(model, model.layout.slots_of("v"), runs=2, classes=None, precision=Precision("float32", CPU))
    with torch.no_grad():
        bank.values += torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(1)) * 0.5
    rng = np.random.default_rng(0)
    ids = [rng.integers(20, VOCABULARY, n) for n in (3, 9, 4, 6, 3, 5, 7)]
    prompts, done = Encoded.of(ids, None, np.zeros(len(ids), int)), []
    with bank.installed():
        found = free_text.Writer(bank, WRITING, done.append).texts(prompts, 1)
        monkeypatch.setitem(free_text.READ_TOKENS, "cpu", 10)
        assert free_text.Writer(bank, WRITING).texts(prompts, 1) == found  # a few are read at a time
        with pytest.MonkeyPatch.context() as patch:
            screened: list[int] = []
            patch.setattr(Screen, "PART", 4)  # of a vocabulary that has no quarter of a million tokens
            patch.setattr(free_text, "cpu_has_bfloat16", lambda: True)
            look = Screen.next
            patch.setattr(Screen, "next", lambda self, state: screened.append(len(state)) or look(self, state))  # type: ignore[func-returns-value]
            assert free_text.Writer(bank, WRITING).texts(prompts, 1) == found
            assert screened and max(screened) == len(ids)
        monkeypatch.setitem(free_text.TOKENS, "cpu", 1)
        assert free_text.Writer(bank, WRITING).texts(prompts, 1) == found  # each prompt alone
    assert sum(done) == len(ids)
    for slot in model.layout.slots_of("v"):
        set_bias(model.backbone, slot, bank.leaves[slot_name(slot)][1].detach())
    lengths = []
    for text, prompt in zip(found, ids, strict=True):
        whole = peer.generate(
            torch.from_numpy(prompt)[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=12,
            do_sample=False,
            use_cache=True,
            eos_token_id=[END, *NEWLINES],
            pad_token_id=0,
        )
        own = whole[0, len(prompt) :].tolist()
        lengths.append(len(own))
        assert text == model.tokenizer.decode(own, skip_special_tokens=True).partition("\n")[0].strip()
    assert len(set(lengths)) > 1, lengths  # some answers end before others


def test_room_for_answers_is_bounded_as_that_for_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[tuple[int, int]] = []
    cache = free_text.KeyValueCache

    def noted(layers: int, rows: int, columns: int, end: int) -> Any:
        rooms.append((rows, columns))
        return cache(layers, rows, columns, end)

    model = tiny_decoder("llama-bias")
    model.tokenizer = Written()
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", CPU))
    prompts = Encoded.of([np.full(3 + n % 2, 30) for n in range(8)], None, np.zeros(8, int))
    monkeypatch.setattr(free_text, "KeyValueCache", noted)
    layout = model.layout
    of_token = 8 * layout.layers * layout.kv_heads * layout.head_dim  # keys and values in float32
    for bound, most in (("TOKENS", 50), ("ROOM", 50 * of_token)):
        rooms.clear()
        with bank.installed(), pytest.MonkeyPatch.context() as patch:
            patch.setitem(getattr(free_text, bound), "cpu", most)
            free_text.Writer(bank, WRITING).texts(prompts)
        assert rooms == [(3, 15), (3, 16), (2, 16)]  # the prompts alone, eight of four tokens, would all fit


class Heard(Observer):
    said = ""

    def message(self, text: str) -> None:
        self.said = text


def test_a_prompt_leaves_room_for_its_answer() -> None:
    examples, heard = Examples(["a b c d e", "a"], None, np.zeros(2, int), answers=[("x",)] * 2), Heard()
    encoded = encode_questions(Prompts(), examples, 16, WRITING, heard)
    assert encoded.lengths.tolist() == [4, 2] and encoded.writing == WRITING and encoded.take([1]).writing == WRITING
    assert encoded.ids[0].tolist() == [1, *map(Prompts.number, (" c", " d", " e"))]
    assert heard.said == "1 of 2 prompts are longer than 4 tokens: what is too much is left out at the left"
    with pytest.raises(UserError, match="got 13 tokens for a prompt and its answer of 12"):
        encode_questions(Prompts(), examples, 13, WRITING)
    with pytest.raises(UserError, match="an empty prompt"):
        encode_questions(Prompts(None), Examples([""], None, np.zeros(1, int)), 16, WRITING)


def test_an_evaluation_of_free_text_judges_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_text.Writer, "texts", lambda self, prompts, run: ["said"] * len(prompts))
    examples = Examples(["a", "b"], None, np.zeros(2, int), answers=[("x",), ("said",)])
    encoded = encode_questions(Prompts(), examples, 16, WRITING)
    bank: Any = object()
    predictor = Predictor(
        bank, {"validation": encoded}, {"validation": lambda out, of: {"n": len(out), "of": len(of)}}, Session(CPU)
    )
    assert predictor.evaluate() == {"n": 2, "of": 2} and predictor.last == {0: {}}
