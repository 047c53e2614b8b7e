"""A packed row gives every example the hidden states that it gets alone."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CONFIGS, VOCABULARY, tiny

from beft_core.architectures.resolve import layout_for
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model
from beft_core.models.packing import packed_forward_inputs, visible

NOT_PACKED = {"vit"}
"""Images have no rows of tokens."""

FLOAT32_INSIDE = {"deberta": 1e-6, "bloom": 1e-6, "gptj": 1e-5, "gemma2": 1e-5}
ROWS = ((5, 9, 3), (12, 2))  # lengths of the examples in each row


def _pack(model: LoadedModel) -> tuple[list[list[torch.Tensor]], dict]:
    generator = torch.Generator().manual_seed(0)
    examples = [[torch.randint(3, VOCABULARY, (n,), generator=generator) for n in row] for row in ROWS]
    width = max(map(sum, ROWS)) + 2  # so that both rows end in padding
    ids, segments, positions = (torch.zeros(len(ROWS), width, dtype=torch.long) for _ in range(3))
    for r, row in enumerate(examples):
        start = 0
        for s, example in enumerate(row, 1):
            here = slice(start, start + len(example))
            ids[r, here], segments[r, here], positions[r, here] = example, s, torch.arange(len(example))
            start += len(example)
    dtype = next(model.backbone.parameters()).dtype
    return examples, packed_forward_inputs(model, ids, segments, positions, dtype)


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in NOT_PACKED])
def test_packed_rows_equal_examples_alone(name: str, attn: str) -> None:
    model = tiny(name, attn=attn)
    examples, packed = _pack(model)
    limit = FLOAT32_INSIDE.get(name, 1e-10 if attn == "sdpa" or name in {"bert", "gpt2"} else 1e-5)
    with torch.no_grad():
        together = model.backbone(**packed).last_hidden_state
        assert torch.isfinite(together).all()
        for r, row in enumerate(examples):
            start = 0
            for example in row:
                alone = model.backbone(input_ids=example[None]).last_hidden_state[0]
                here = together[r, start : start + len(example)]
                assert float((here - alone).abs().max()) < limit
                start += len(example)


@pytest.mark.parametrize("name", sorted(NOT_PACKED))
def test_architectures_that_cannot_say_so(name: str) -> None:
    with pytest.raises(UserError, match="--pad buckets"):
        _pack(tiny(name))


def test_convolutions_mix_neighbours() -> None:
    name, config = CONFIGS["deberta-v2"]
    assert layout_for({"model_type": name, **config}).packing
    assert not layout_for({"model_type": name, **config, "conv_kernel_size": 3}).packing


def test_pairs_keep_their_token_types() -> None:
    model = load_model()
    one = model.tokenizer("first sentence", "second one", return_tensors="pt")
    two = model.tokenizer("another", "pair of sentences", return_tensors="pt")
    rows = {key: torch.cat([one[key], two[key]], dim=1) for key in ("input_ids", "token_type_ids")}
    n, m = one["input_ids"].shape[1], two["input_ids"].shape[1]
    packed = packed_forward_inputs(
        model,
        rows["input_ids"],
        torch.tensor([[1] * n + [2] * m]),
        torch.tensor([[*range(n), *range(m)]]),
        token_type_ids=rows["token_type_ids"],
    )
    with torch.no_grad():
        alone = [model.backbone(**pair).last_hidden_state[0] for pair in (one, two)]
        together = model.backbone(**packed).last_hidden_state[0]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def test_visible_against_the_definition() -> None:
    segments = torch.tensor([[1, 1, 1, 2, 2, 0]])
    for causal in (False, True):
        for window in (None, 1, 2):
            see = visible(segments, causal=causal, window=window)[0]
            for i, query in enumerate(segments[0]):
                for j, key in enumerate(segments[0]):
                    near = window is None or (i - j < window if causal else abs(i - j) <= window)
                    expected = i == j or bool(query == key != 0 and near and (j <= i or not causal))
                    assert bool(see[i, j]) == expected
