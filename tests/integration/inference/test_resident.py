"""Rows of different fine-tunes in one pass: as the model with the biases of each written into it, one by one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from example_decoder import asked_fine_tune
from tiny_models import CONFIGS, tiny
from training_tools import examples, planned

from beft_core.errors import UserError
from beft_core.inference.heads import prompted_task
from beft_core.inference.resident import Resident
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, add_zero_bias, biases, restored, write_biases
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Encoded
from beft_core.training.forward import arranged, logits_of, pass_arrays
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.precision import Precision
from beft_core.training.preconditions import head_of, outputs_of
from beft_core.training.result import put_head
from beft_core.training.session import Session

PRECISION = Precision("float32", torch.device("cpu"))
ENCODED = examples(9, 3)
OF = np.array([0, 1, 2, 3, 2, 1, 0, 3, 1])
OUTPUTS = (2, 1, 3, 2)
"""Outputs of four heads, a regression's among them."""
ALONE = {"deberta": [0, 1, 3], "deberta-v2-shared": [0, 3]}
"""Those of the four whose biases rows of one pass cannot have otherwise: DeBERTa v1's q, v and norms; v3's q and k."""
TEXTS = sorted(set(CONFIGS) - {"vit"})


def fresh(name: str) -> LoadedModel:
    return tiny(name, attn="sdpa", dtype=torch.float32)


def made_up(
    model: LoadedModel, seed: int, outputs: int | None, terms: tuple[str, ...], layers: tuple[int, ...]
) -> Snapshot:
    """A fine-tune of these terms in these layers, by noise; its head too."""
    rng = np.random.default_rng(seed)
    pre = biases(model)
    post = {key: value.copy() for key, value in pre.items()}
    for (_, term), value in post.items():
        if term in terms:
            rows = [layer for layer in layers if layer < len(value)]
            value[rows] += 0.3 * rng.standard_normal((len(rows), value.shape[1])).astype(np.float32)
    bank = Bank(model, [], runs=1, classes=outputs, precision=PRECISION, trains=False)
    head = {f"extra.toy.{name}": 0.3 * rng.standard_normal(part.shape) for name, part in bank.parts.items()}
    kind = {"kind": "regression"} if outputs == 1 else {"kind": "classification", "labels": ["a", "b", "c"][:outputs]}
    meta = SnapshotMeta(model.info, "toy", trained_terms=terms, heads={"toy": kind})
    return Snapshot.build(meta, pre, post, extra=head)


def four(model: LoadedModel) -> list[Snapshot]:
    """Fine-tunes of one term, of another in one layer, of norms or what else there is, and of all biases."""
    if not model.layout.terms:
        add_zero_bias(model, "v")
        add_zero_bias(model, "o")
    have = model.layout.terms
    norms = tuple(term for term in ("ln1", "ln2", "mlp_out", "o") if term in have) or have
    if model.layout.model_type == "deberta":
        norms = ("mlp_out", "o")  # its norms are of its own kind
    chosen = [(have[:1], (0, 1)), (have[-1:], (1,)), (norms, (0, 1)), (have, (0, 1))]
    return [made_up(model, seed, size, *what) for seed, (size, what) in enumerate(zip(OUTPUTS, chosen, strict=True))]


def alone(model: LoadedModel, variant: Variant, one: Encoded) -> np.ndarray:
    """Logits of one example in a pass of its own by the plain algorithm, the biases written into the model."""
    head = head_of(variant.snapshot, variant.task)
    with restored(model), torch.no_grad():
        write_biases(model, {key: variant.values(key) for key in variant.snapshot.keys()})  # noqa: SIM118
        bank = Bank(model, [], runs=1, classes=outputs_of(head), precision=PRECISION)
        put_head(head, bank)
        session = Session(PRECISION.device)
        with bank.installed():
            host = arranged(bank, session, one, np.zeros(1, np.int64), planned([[0]], int(one.lengths[0])))
            arrays = pass_arrays(bank, session, host, [0], [0])
            logits = session.run("one", arrays, partial(logits_of, bank, session, host.shape, tokens=one.tokens))
    return np.asarray(logits[0].numpy())


@pytest.mark.parametrize("name", TEXTS)
def test_each_row_is_read_under_its_own_biases_and_head(name: str) -> None:
    model = fresh(name)
    snapshots = four(model)
    variants = [Variant(one, "toy") for one in snapshots]
    untouched = biases(model)
    resident = Resident(model, variants)
    found = resident.logits(ENCODED, OF)
    assert found.shape == (9, 3) and found.dtype == np.float32
    assert resident.alone == ALONE.get(name, [])
    for row, number in enumerate(OF):
        expected = alone(model, variants[number], ENCODED.take([row]))
        np.testing.assert_allclose(found[row, : OUTPUTS[number]], expected, atol=1e-5, rtol=1e-5)
        assert np.isnan(found[row, OUTPUTS[number] :]).all()
    # Another fine-tune's biases would have been seen.
    other = Variant.before(snapshots[3], "toy")
    assert np.abs(found[3, :2] - alone(model, other, ENCODED.take([3]))).max() > 1e-3
    for key, value in biases(model).items():
        np.testing.assert_array_equal(value, untouched[key])


def test_rows_may_read_one_example_and_only_heads_that_are_asked_count() -> None:
    model = fresh("roberta")  # a head with a hidden layer of its own
    resident = Resident(model, [Variant(one, "toy") for one in four(model)])
    told: list[int] = []
    found = resident.logits(ENCODED, [3, 3, 0], [5, 2, 5], advance=told.append)
    both = resident.logits(ENCODED.take([5, 2]), [3, 3])
    np.testing.assert_allclose(found[:2, :2], both[:, :2], atol=1e-5)
    assert sum(told) == 3 and np.abs(found[0, :2] - found[2, :2]).max() > 1e-3
    assert resident.logits(ENCODED.take([]), []).shape == (0, 3)


def test_a_thousand_take_what_their_numbers_take() -> None:
    model = fresh("bert")
    one = made_up(model, 0, 2, ("v",), (0, 1))
    resident = Resident(model, [Variant(one, "toy", {"v": 1 + number / 1000}) for number in range(1000)])
    hidden = model.layout.hidden_size
    of_one = 2 * hidden + hidden + 2 * hidden + 2  # b_v of two layers, the pooler's bias, the head
    assert resident.nbytes == 1000 * 4 * of_one
    found = resident.logits(ENCODED, 111 * np.arange(9))
    for row in (0, 8):
        expected = alone(model, resident.variants[111 * row], ENCODED.take([row]))
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_prompted_fine_tunes_share_a_pass(model: LoadedModel) -> None:
    words = ("bad", "so good")
    variants = [Variant(asked_fine_tune(model, candidates=words, size=size), "asks") for size in (0.5, 0.0, 2.0)]
    asked = ["a film. It was", "dull. It was", "It was"]
    spec = prompted_task(variants[0].snapshot.meta, "asks")
    assert spec is not None
    several = [tuple(f" {word}" for word in words)] * 3
    encoded = Candidates(spec.target).encode(model, Examples(asked, None, np.zeros(3, np.int64), several), 64)
    found = Resident(model, variants).logits(encoded, [0, 1, 2])
    for row, variant in enumerate(variants):
        (expected,) = Resident(model, [variant]).logits(encoded.take([row]), [0])
        np.testing.assert_allclose(found[row], expected, atol=1e-5)
        np.testing.assert_allclose(found[row], alone(model, variant, encoded.take([row])), atol=1e-5)
    assert np.abs(found[0] - found[2]).max() > 1e-2


def test_refusals(model: LoadedModel) -> None:
    bert = fresh("bert")
    one = made_up(bert, 0, 2, ("v",), (0,))
    resident = Resident(bert, [Variant(one, "toy")])
    for of in ([0], [0, 0, 1], [0, 0, -1]):
        with pytest.raises(UserError, match="numbers of fine-tunes for 3 rows; expected one for each row, from 0 to 0"):
            resident.logits(ENCODED.take([0, 1, 2]), of)
    with pytest.raises(UserError, match="no fine-tune"):
        Resident(bert, [])
    with pytest.raises(UserError, match="not those of tiny-bert"):
        Resident(tiny("bert", dtype=torch.float32, seed=1), [Variant(one, "toy")])
    with pytest.raises(UserError, match="without a head for other"):
        Resident(bert, [Variant(one, "other")])
    asked = asked_fine_tune(model, candidates=("bad", "good"))
    headed = made_up(model, 0, 2, ("v",), (0,))
    with pytest.raises(UserError, match="a head among such"):
        Resident(model, [Variant(headed, "toy"), Variant(asked, "asks")])
