"""Steps that are recorded and replayed. A CPU has no CUDA graphs: here one is played by the computation itself, on the
tensors of the recording, so that what is tested is everything around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch import Tensor
from training_tools import config, difference, examples, fit

from beft_core.training.acceleration import session
from beft_core.training.acceleration.replay import cuda_graphs
from beft_core.training.acceleration.replay.cuda_graphs import Recording, Replays
from beft_core.training.acceleration.replay.deferred_reads import RHYTHMS, Rhythm
from beft_core.training.acceleration.replay.packed_arrays import PackedArrays
from beft_core.training.observer import Observer
from beft_core.training.progress.checkpoint import Checkpoint

CPU = torch.device("cpu")


@dataclass
class Played:
    """Does again what was recorded, where it was recorded."""

    inputs: Mapping[str, Tensor]
    compute: Callable[[Mapping[str, Tensor]], Tensor]
    output: Tensor
    times: int = 0

    def replay(self) -> None:
        self.times += 1
        result = self.compute(self.inputs).detach()
        self.output.resize_(result.shape).copy_(result)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    """Recordings on a CPU; returns all that were made."""
    made: list[Played] = []

    def record(self: Replays, inputs: PackedArrays, compute: Any) -> Recording:
        made.append(Played(inputs.tensors, compute, torch.empty(0)))
        return Recording(inputs, made[-1], made[-1].output)

    @contextmanager
    def recording(self: Replays) -> Iterator[None]:
        self.records = True
        yield
        self.records = False

    monkeypatch.setattr(Replays, "_record", record)
    monkeypatch.setattr(Replays, "recording", recording)
    monkeypatch.setattr(Replays, "_compute", lambda self, inputs, compute: compute(inputs))
    return made


def test_a_shape_is_computed_then_recorded_then_replayed(played: list[Played]) -> None:
    replays, calls = Replays(CPU, print), []

    def compute(tensors: Mapping[str, Tensor]) -> Tensor:
        calls.append(tensors["x"])
        return tensors["x"] * 2

    with replays.recording():
        for number, width in enumerate([3, 3, 3, 5, 3, 5, 5]):
            array = np.full(width, float(number))
            assert replays.run("double", {"x": array}, compute).tolist() == [2.0 * number] * width
            assert array.tolist() == [float(number)] * width
    assert [(len(one.inputs["x"]), one.times) for one in played] == [(3, 3), (5, 2)]
    assert len({id(x) for x in calls}) == 4  # each width: once as it is, then always on the tensors of its recording


def test_kinds_and_types_of_numbers_are_kept_apart(played: list[Played]) -> None:
    replays = Replays(CPU, print)
    with replays.recording():
        for _ in range(2):
            for kind in ("a", "b"):
                for dtype in (np.float32, np.float64):
                    replays.run(kind, {"x": np.ones(2, dtype)}, lambda tensors: tensors["x"] + 1)
    assert [one.times for one in played] == [1] * 4


def test_nothing_is_recorded_outside(played: list[Played]) -> None:
    replays = Replays(CPU, print)
    for _ in range(3):
        assert replays.run("a", {"x": np.ones(2)}, lambda tensors: tensors["x"] + 1).tolist() == [2.0, 2.0]
    assert not played
    with replays.recording():  # what was seen outside was not seen where it is to be recorded
        replays.run("a", {"x": np.ones(2)}, lambda tensors: tensors["x"] + 1)
    assert not played


def test_the_recording_that_was_used_longest_ago_makes_room(
    played: list[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MAX_RECORDINGS", 2)
    replays = Replays(CPU, print)
    with replays.recording():
        for width in (1, 1, 2, 2, 1, 3, 3, 1, 2, 2):  # 3 takes the place of 2, and 2 then that of 3
            assert replays.run("a", {"x": np.ones(width)}, lambda tensors: tensors["x"] + 1).tolist() == [2.0] * width
        assert len(replays._recordings) == 2
    assert [(len(one.inputs["x"]), one.times) for one in played] == [(1, 3), (2, 1), (3, 1), (2, 2)]


class FakeGPU:
    """What a recording asks of a GPU, and how often its generator was repaired and its cache emptied."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.repaired = self.emptied = 0
        self.free, self.allocated, self.most = 10_000, 200, 1200
        patch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        patch.setattr(torch.cuda, "default_generators", [self])
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "mem_get_info", lambda: (self.free, 99_999))
        patch.setattr(torch.cuda, "memory_allocated", lambda: self.allocated)
        patch.setattr(torch.cuda, "max_memory_allocated", lambda: self.most)
        patch.setattr(torch.cuda, "synchronize", lambda: None)
        patch.setattr(torch.cuda, "empty_cache", self.empty_cache)
        patch.setattr(torch._C, "_cuda_endAllocateToPool", lambda device, pool: None, raising=False)

    def empty_cache(self) -> None:
        self.emptied += 1

    def capture_begin(self, **_: Any) -> None:
        pass

    def capture_end(self) -> None:
        raise RuntimeError("captures: previous error")

    def replay(self) -> None:
        pass

    def clone_state(self) -> object:
        return object()

    def graphsafe_set_state(self, state: object) -> None:
        assert state is not self
        self.repaired += 1


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGPU:
    return FakeGPU(monkeypatch)


def test_what_a_graph_does_not_take_goes_on_without_and_is_told(gpu: FakeGPU) -> None:
    told: list[str] = []
    replays, calls = Replays(CPU, told.append), []
    replays.records = True

    def compute(tensors: Mapping[str, Tensor]) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        return tensors["x"] + 1

    for _ in range(3):
        assert replays.run("a", {"x": np.ones(2)}, compute).tolist() == [2.0, 2.0]
    assert told == [
        "steps run without CUDA graphs, which did not take one: operation not permitted when stream is capturing"
    ]
    assert not replays.records and gpu.repaired == 1


def test_an_interrupt_while_recording_leaves_the_generator_as_it_was(gpu: FakeGPU) -> None:
    replays, calls = Replays(CPU, print), []
    replays.records = True

    def compute(tensors: Mapping[str, Tensor]) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return tensors["x"]

    replays.run("a", {"x": np.ones(2)}, compute)
    with pytest.raises(KeyboardInterrupt):
        replays.run("a", {"x": np.ones(2)}, compute)
    assert gpu.repaired == 1


def test_memory_that_runs_out_while_recording_spares_the_other_shapes(gpu: FakeGPU) -> None:
    told: list[str] = []
    replays, calls = Replays(CPU, told.append), []
    replays.records = True

    def compute(tensors: Mapping[str, Tensor]) -> Tensor:
        calls.append(len(tensors["x"]))
        if calls.count(5) == 2 and calls[-1] == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tensors["x"] + 1

    for _ in range(2):
        assert replays.run("a", {"x": np.ones(5)}, compute).tolist() == [2.0] * 5
    assert told == ["memory ran out for a CUDA graph: steps of this size run without"] and replays.records


def test_memory_that_runs_out_of_a_step_takes_that_of_the_graphs(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGPU, "capture_end", lambda self: None)
    replays = Replays(CPU, print)
    replays.records = True

    def compute(tensors: Mapping[str, Tensor]) -> Tensor:
        if len(tensors["x"]) > 5 and not (len(tensors["x"]) == 6 and gpu.emptied):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tensors["x"] + 1

    for width in (2, 2):
        replays.run("a", {"x": np.ones(width)}, compute)
    assert len(replays._recordings) == 1 and not gpu.emptied
    assert replays.run("a", {"x": np.ones(6)}, compute).tolist() == [2.0] * 6
    assert not replays._recordings and gpu.emptied == 1
    with pytest.raises(torch.OutOfMemoryError):  # there is nothing left to give back
        replays.run("a", {"x": np.ones(7)}, compute)


def test_graphs_share_the_memory_of_the_largest_step(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGPU, "capture_end", lambda self: None)
    told: list[str] = []
    replays = Replays(CPU, told.append)
    replays.records = True

    def twice(width: int) -> None:
        for _ in range(2):
            replays.run("a", {"x": np.ones(width)}, lambda tensors: tensors["x"])

    gpu.free = 1500  # 1.5 times what a step takes
    twice(1)
    assert not replays._recordings and told == [
        "memory is short, so steps run without CUDA graphs, which is slower for small ones"
    ]
    gpu.free = 1501
    twice(2)
    gpu.free = 1  # the next one fits into what the first has
    twice(3)
    assert len(replays._recordings) == 2
    gpu.most = 1400  # and this one into 300 more
    twice(4)
    assert len(replays._recordings) == 2
    gpu.free = 301
    twice(5)
    assert len(replays._recordings) == 3


@pytest.fixture
def recorded_fine_tunes(played: list[Played], monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    """Fine-tunes on this CPU record their steps."""
    monkeypatch.setattr(session, "can_replay", lambda *_: True)
    return played


@pytest.mark.parametrize("pad", ["packed", "longest", "max"])
@pytest.mark.parametrize("name", ["bert", "opt", "distilbert"])
def test_a_recorded_fine_tune_is_the_same(name: str, pad: str, recorded_fine_tunes: list[Played]) -> None:
    runs = [config(pad=pad, seed=0, epochs=6, max_length=16), config(pad=pad, seed=1, epochs=3, max_length=16)]
    recorded = fit(name, *runs)
    assert len(recorded_fine_tunes) > 2 and sum(one.times for one in recorded_fine_tunes) > 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "can_replay", lambda *_: False)
        plain = fit(name, *runs)
    assert max(difference(a, b) for a, b in zip(recorded, plain, strict=True)) < 1e-5
    for a, b in zip(recorded, plain, strict=True):
        assert [sorted(row) for row in a.meta.metrics] == [sorted(row) for row in b.meta.metrics]
        for one, other in zip(a.meta.metrics, b.meta.metrics, strict=True):
            assert one == pytest.approx(other, abs=1e-4)


class Listener(Observer):
    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.usefixtures("any_rate")
def test_one_run_fails_and_the_others_go_on(recorded_fine_tunes: list[Played]) -> None:
    listener = Listener()
    good, bad = config(seed=0, epochs=4), config(seed=1, epochs=4, lr=1e38)
    first, _ = fit("bert", good, bad, observer=listener)
    alone = fit("bert", good)
    assert any("run 1: the loss or its gradient was not finite" in text for text in listener.told)
    assert difference(first, alone[0]) < 1e-5


@pytest.mark.usefixtures("any_rate")
@pytest.mark.parametrize("rhythm", [Rhythm(1, 0), Rhythm(1, 4), Rhythm(4, 0)])
def test_when_a_failure_is_noticed_changes_nothing_for_the_others(
    rhythm: Rhythm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving looks at all values at once; a run that fails leaves at the same step all the same."""
    monkeypatch.setitem(RHYTHMS, "cpu", rhythm)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    runs = [config(seed=0, dropout=True), config(seed=1, dropout=True, lr=1e38)]
    trains = [examples(40, seed) for seed in (0, 1)]
    good, _ = fit("bert", *runs, trains=trains)
    saving, _ = fit("bert", *runs, trains=trains, checkpoint=tmp_path / "bank")
    assert difference(good, saving) == 0.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pad", ["packed", "longest"])
def test_graphs_give_the_same_bits_as_their_operations(
    pad: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    record = Replays._record

    def counted(self: Replays, *args: Any) -> Recording | None:
        made.append(record(self, *args))
        return made[-1]

    settings: dict[str, Any] = {"device": "cuda", "precision": precision, "pad": pad, "dropout": True}
    runs = [config(**settings, seed=seed, epochs=6, evaluate="epoch") for seed in (0, 1)]
    monkeypatch.setattr(Replays, "_record", counted)
    graphs = fit("bert", *runs)
    assert made and None not in made
    monkeypatch.setattr(Replays, "_record", lambda *_: None)
    launched = fit("bert", *runs)
    assert max(difference(a, b) for a, b in zip(graphs, launched, strict=True)) == 0.0


@pytest.mark.parametrize(
    ("device", "pad", "name", "weights", "expected"),
    [
        ("cuda", "packed", "bert", None, True),
        ("cpu", "packed", "bert", None, False),
        ("cuda", "buckets", "bert", None, False),
        ("cuda", "packed", "albert", None, False),
        ("cuda", "packed", "gemma3_text", None, True),
        ("cuda", "longest", "mistral", None, True),
        ("cuda", "packed", "modernbert", None, False),
        ("cuda", "packed", "bloom", None, False),
        ("cuda", "packed", "bert", "trained", False),
    ],
)
def test_what_can_be_recorded(device: str, pad: str, name: str, weights: Any, expected: bool) -> None:
    assert session.can_replay(tiny(name, attn="sdpa"), torch.device(device), pad, weights) is expected
