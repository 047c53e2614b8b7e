"""Prompted fine-tunes as a GPU shapes their passes: they end at the values of the plain algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import prompted, tiny_decoder
from tiny_models import CONFIGS, tiny
from training_tools import CLASSIFICATION, attend_by_segments, config, difference, trace_layers

from beft_core.models.biases import add_zero_bias
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.targets import Classes
from beft_core.training import forward, workflow
from beft_core.training.acceleration import session
from beft_core.training.acceleration.replay.cuda_graphs import Replays
from beft_core.training.acceleration.segment_attention import masks_are_made_here
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.session import Session

SHORT, LONG = [(" good", " bad")], [(" good", " very bad one"), (" a b c", " d e"), (" yes", " no")]
"""Candidates of one token, which make no branches, and of several."""
PLAIN = ("opt", "gpt2", "gpt_neox", "llama-bias")
WINDOWED = ("qwen2", "qwen2-sliding", "mistral", "qwen3-bias", "gemma3_text-bias", "phi3")
TOLERANCE = 2e-5
"""As for two layouts of the same batch: Adam turns rounding into steps."""


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Prompts are shaped on this CPU as where steps are recorded; the masks of the passes."""
    found: set[str] = set()
    real, arrange = workflow.session_for, forward.arrange

    @contextmanager
    def recording(self: Replays) -> Iterator[None]:
        yield

    def arranged(*args: Any, **how: Any) -> Any:
        one = arrange(*args, **how)
        found.add(one.shape.mask)
        return one

    def made(model: Any, precision: Any, *, plain: bool, **how: Any) -> Any:
        return real(model, precision, plain=False, **how)

    monkeypatch.setattr(workflow, "session_for", made)
    monkeypatch.setattr(forward, "arrange", arranged)
    monkeypatch.setattr(Replays, "recording", recording)
    monkeypatch.setattr(session, "can_replay", lambda *_: True)
    monkeypatch.setattr(session, "is_supported", lambda *_: False)
    return found


def fit(name: str, examples: Examples, *, plain: bool = False, **how: Any) -> list[Snapshot]:
    """Train v and q in one bank on the examples and score these again."""
    spec = dataclasses.replace(
        CLASSIFICATION,
        objective="candidates",
        labels=("bad", "good"),
        prompt=PromptSpec("{text}", candidates=("bad", "good")),
    )
    model = tiny_decoder(name)
    for term in ("v", "q"):
        add_zero_bias(model, term)
    encoded = Candidates(Classes(("bad", "good"))).encode(model, examples, 64, training=True)
    runs = [config(terms=(term,), seed=seed, lr=2e-3, **how) for seed, term in enumerate(("v", "q"))]
    with pytest.MonkeyPatch.context() as patch:
        if plain:
            patch.setattr(workflow, "session_for", lambda model, precision, **_: Session(precision.device))
        trained = workflow.fit_bank(
            model,
            TaskData(spec, examples, {"validation": examples}, "made up"),
            runs,
            trains=[encoded] * len(runs),
            evals={"validation": encoded},
        )
    return [one.sound() for one in trained]


def of(candidates: list[tuple[str, ...]], n: int = 10, longest: int = 9) -> Examples:
    """Make prompts that have these candidates by turns."""
    return prompted((candidates * n)[:n], [i % 2 for i in range(n)], seed=3, longest=longest)


def require_equal(fast: list[Snapshot], plain: list[Snapshot]) -> None:
    """Compare two banks: values to rounding, scores, and that something moved."""
    assert max(difference(a, b) for a, b in zip(fast, plain, strict=True)) < TOLERANCE
    for a, b in zip(fast, plain, strict=True):
        assert max(float(np.abs(b.post(*key) - b.pre(*key)).max()) for key in b.keys()) > 1e-3  # noqa: SIM118
        assert a.meta.metrics[-1] == pytest.approx(b.meta.metrics[-1], abs=1e-4)


@pytest.mark.parametrize("pad", ["packed", "longest"])
@pytest.mark.parametrize("name", [*PLAIN, *WINDOWED])
def test_prompts_end_at_the_same_values(name: str, pad: str, masks: set[str]) -> None:
    for candidates in (SHORT, LONG):
        require_equal(*(fit(name, of(candidates), plain=plain, pad=pad) for plain in (False, True)))
    narrow = name in WINDOWED and tiny_decoder(name).layout.window is not None  # so their masks are made
    assert "additive" in masks and ("causal" in masks or narrow or pad == "packed")


def test_these_are_the_models_whose_steps_are_recorded() -> None:
    decoders = [name for name in CONFIGS if name != "vit" and tiny(name).layout.causal]
    found = {name for name in decoders if masks_are_made_here(tiny(name, attn="sdpa"))}
    bare = {"gpt_neox-no-bias", "llama", "gemma", "qwen3", "gemma3_text"}  # as others of their type, without biases
    assert found - bare == {*PLAIN, *WINDOWED}


def test_prompts_are_trained_by_compiled_layers(masks: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    traced = trace_layers(monkeypatch)
    examples = of(SHORT, n=4, longest=3)
    require_equal(fit("opt", examples, compile=True, epochs=1), fit("opt", examples, plain=True, epochs=1))
    assert traced == ["OPTDecoderLayer"] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels are interpreted, and this is on a CPU")
def test_prompts_attend_by_segments(masks: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="comes with PyTorch's builds for GPUs, and with the dev extra on Linux")
    served = attend_by_segments(monkeypatch)
    examples = of(SHORT, n=4, longest=3)
    fast = fit("opt", examples, pad="packed", epochs=1)
    assert served == ["opt"] and {"causal", "segments"} >= masks
    require_equal(fast, fit("opt", examples, plain=True, epochs=1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("pad", ["packed", "longest"])
@pytest.mark.parametrize("name", ["opt", "gpt2", "llama-bias", "qwen2-sliding", "gemma3_text-bias"])
def test_prompts_are_recorded_on_a_gpu_and_end_at_the_same_values(
    name: str, pad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    record = Replays._record

    def counted(self: Replays, *args: Any) -> Any:
        made.append(record(self, *args))
        return made[-1]

    monkeypatch.setattr(Replays, "_record", counted)
    for candidates in (SHORT, LONG):
        how: dict[str, Any] = {"pad": pad, "device": "cuda", "epochs": 4}
        require_equal(fit(name, of(candidates), **how), fit(name, of(candidates), **how, plain=True))
    assert made and None not in made


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_layers_of_a_gpu_are_computed_again() -> None:
    how: dict[str, Any] = {"device": "cuda", "gradient_checkpointing": True}
    require_equal(fit("opt", of(LONG), **how), fit("opt", of(LONG), device="cuda", plain=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_compiled_layers_of_a_gpu_end_at_the_same_values() -> None:
    how: dict[str, Any] = {"device": "cuda", "epochs": 2}
    for candidates in (SHORT, LONG):
        require_equal(fit("opt", of(candidates), **how, compile=True), fit("opt", of(candidates), **how, plain=True))
