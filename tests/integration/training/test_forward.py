"""One forward pass of a bank, against the model asked about each example alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from prompt_tools import VARIED, plain_scores, tiny_decoder
from tiny_models import tiny
from training_tools import examples

from beft_core.models.biases import add_zero_bias, set_bias
from beft_core.tasks.predictions import MISSING
from beft_core.training.batches.arrange import Shaping
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import plan
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.forward import arranged, below, logits_of, one_run_each, pass_arrays, passes_of_step
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.precision import Precision
from beft_core.training.predict import Predictor
from beft_core.training.session import Session

CPU = torch.device("cpu")
RUNS = np.array([0, 0, 0, 1, 1])


def two_runs(name: str) -> Bank:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    bank = Bank(model, model.layout.slots_of("v"), runs=2, classes=3, precision=Precision("float32", CPU))
    with torch.no_grad():
        bank.values += torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(1)) * 0.1
    return bank


@torch.no_grad()
def alone(bank: Bank, batch: Encoded, run: int) -> torch.Tensor:
    """Logits of one example, by a bank of one with the values of the run."""
    one = Bank(bank.model, bank.model.layout.slots_of("v"), runs=1, classes=3, precision=bank.precision)
    one.values[0] = bank.values[run]
    with one.installed():
        return one.logits(one.vectors(one_run_each(one, batch)))[0]


@pytest.mark.parametrize("pad", ["packed", "buckets", "longest", "max"])
@pytest.mark.parametrize("rounded", [False, True])
def test_each_example_gets_the_logits_of_its_run(pad: str, rounded: bool) -> None:
    bank, batch, session = two_runs("bert"), examples(5, 3), Session(CPU)
    session.shaping = Shaping(rounded=rounded)
    shapes, arrays = passes_of_step(bank, session, batch, RUNS, pad, 16)
    found, labels = [], []
    with bank.installed(), torch.no_grad():
        for number, shape in enumerate(shapes):
            own = below({name: torch.from_numpy(array) for name, array in arrays.items()}, f"{number}.")
            logits = logits_of(bank, session, shape, own, batch.tokens)
            found += list(zip(logits, own["share"].tolist(), own["example.run_of"].tolist(), strict=True))
            labels += own["labels"].tolist()
    expected = {i: alone(bank, batch.take([i]), run) for i, run in enumerate(RUNS)}
    assert sorted(labels) == sorted(batch.labels.tolist()) and len(found) == 5
    left = dict(expected)
    for logits, share, run in found:
        nearest = min(left, key=lambda i: float((left[i] - logits).abs().max()))
        torch.testing.assert_close(logits, left.pop(nearest), atol=2e-6, rtol=2e-6)
        assert RUNS[nearest] == run
        assert share == pytest.approx(1 / np.count_nonzero(run == RUNS))


def test_how_examples_share_rows_makes_no_shape_where_shapes_are_rounded() -> None:
    bank, session = two_runs("bert"), Session(CPU)
    session.shaping = Shaping(rounded=True)
    wide = {}
    for lengths in ([7, 7, 7, 7, 7], [3, 3, 3, 3, 7]):  # three rows of a run, or one
        batch = Encoded.of([np.ones(length, np.int64) for length in lengths], None, np.zeros(5, np.int64))
        (shape,), arrays = passes_of_step(bank, session, batch, RUNS, "packed", 16)
        wide[shape.rows] = arrays["0.row.items_of"].shape
    assert len(wide) == 2 and set(wide.values()) == {(2, 4)}


def test_names_below_another() -> None:
    tensors = {"0.lr": torch.zeros(1), "10.lr": torch.ones(1), "0.row.place": torch.ones(2)}
    assert list(below(tensors, "0.")) == ["lr", "row.place"]
    assert list(below(tensors, "10.")) == ["lr"]


def test_a_run_for_each_example_keeps_their_gradients_apart() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    batch = examples(3, 5)
    slots = model.layout.slots_of("v")
    bank = Bank(model, slots, runs=3, classes=2, precision=Precision("float32", CPU))
    bank.init_head(0, 4)
    with torch.no_grad():
        bank.values[1:] = bank.values[0]
    with bank.installed():
        bank.logits(bank.vectors(one_run_each(bank, batch)))[:, 0].sum().backward()
    for i in range(3):
        single = Bank(model, slots, runs=1, classes=2, precision=bank.precision)
        with torch.no_grad():
            single.values[0] = bank.values[0]
        with single.installed():
            single.logits(single.vectors(one_run_each(single, batch.take([i]))))[:, 0].sum().backward()
        assert single.grads.abs().max() > 1e-3
        np.testing.assert_allclose(bank.grads[i], single.grads[0], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    ["opt", "gpt2", "gpt_neox", "bloom", "falcon-heads", "qwen2", "qwen2-sliding", "llama", "gemma2", "gemma3_text"],
)
def test_candidates_score_as_their_whole_texts_one_by_one(name: str) -> None:
    model, session = tiny_decoder(name), Session(CPU)
    add_zero_bias(model, "v")
    slots = model.layout.slots_of("v")
    bank = Bank(model, slots, runs=2, classes=None, precision=Precision("float32", CPU))
    bank.values += torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(1)) * 0.3
    batch = encode_prompts(model.tokenizer, VARIED, 64, model_type=model.layout.model_type)
    found: dict[str, dict[int, torch.Tensor]] = {}
    with bank.installed():
        for pad in ("packed", "longest"):
            (one,) = plan(batch.lengths, RUNS, pad, 32)
            host = arranged(bank, session, batch, RUNS, one)
            arrays = pass_arrays(bank, session, host, host.run_of_row, host.run_of_example)
            tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
            scores = logits_of(bank, session, host.shape, tensors, batch.tokens)
            found[pad] = dict(zip(host.examples, scores, strict=True))
        predicted = [Predictor(bank, {}, {}, session).predict(batch, run) for run in (0, 1)]
    found["predicted"] = {i: torch.from_numpy(predicted[run][i]) for i, run in enumerate(RUNS)}
    for run in (0, 1):
        for slot in slots:
            set_bias(model.backbone, slot, bank.leaves[slot_name(slot)][run].detach())
        for i, own in enumerate(plain_scores(model, VARIED)):
            expected = torch.tensor([*own, *[MISSING] * (3 - len(own))])
            for scores in found.values():
                if RUNS[i] == run:
                    torch.testing.assert_close(scores[i], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_model_that_cannot_pack_scores_candidates_of_one_token() -> None:
    model, session, few = tiny_decoder("falcon-heads"), Session(CPU), VARIED.take([0, 3])
    model.layout = replace(model.layout, packing=False)
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", CPU))
    batch = encode_prompts(model.tokenizer, few, 64, model_type="falcon")
    with bank.installed():
        found = Predictor(bank, {}, {}, session).predict(batch)
    np.testing.assert_allclose(found, plain_scores(model, few), atol=1e-5)
