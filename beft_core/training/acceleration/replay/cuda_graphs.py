"""Steps of a bank as CUDA graphs: recorded once for each shape, then started with one call.

A step is a thousand small operations, and Python takes 20 to 60 ms to ask a GPU for them; what the GPU then does takes
3 ms for a bank of 30 small runs. A graph holds the operations together with the addresses of their tensors. So the
arrays of a step (tokens, routes, labels, learning rates) are first copied to where the graph expects them, and what it
changes (biases, moments, losses) never moves. Random numbers are new at each replay: PyTorch sets the generator's seed
and offset from outside.

A shape is computed as it is the first time, because much is compiled and chosen at a first time, and recorded the
second time. Shapes are rounded so that few occur (see :func:`beft_core.training.batches.arrange.plan`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from beft_core.libraries.torch_private import end_allocation_to_pool
from beft_core.training.acceleration.replay.packed_arrays import Arrays, PackedArrays
from beft_core.training.batches.run_index import to_device

MAX_RECORDINGS = 64
"""Most shapes whose recordings are kept; the one that was used longest ago makes room."""

Compute = Callable[[Mapping[str, Tensor]], Tensor]
"""Function from tensors on the device, by the names of the arrays, to one tensor. It sends nothing to the device and
reads nothing. If memory runs out in it, it is done again.
"""


@dataclass
class Recording:
    """Recording of one CUDA graph, and where it reads and writes."""

    inputs: PackedArrays
    graph: Any
    output: Tensor


class Replays:
    """Runner of computations, which records and replays them while :meth:`recording` is open."""

    def __init__(self, device: torch.device, report: Callable[[str], None]) -> None:
        """Prepare recordings on a device. ``report`` receives what a user should know."""
        self.device, self.report = device, report
        self.records = False
        self._pool: Any = None
        self._seen: set[Hashable] = set()
        self._recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self._most_bytes = self._pooled_bytes = 0
        self._told = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record and replay while the context is open. All runs in one stream of its own: a graph must not wait for
        another stream.
        """
        stream, outside = _stream(), torch.cuda.current_stream()
        stream.wait_stream(outside)
        torch.cuda.empty_cache()  # one stream's memory is of no use to another
        torch.cuda.reset_peak_memory_stats()
        self._pool = torch.cuda.graph_pool_handle()
        self.records = True
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            self.records = False
            self._seen.clear()
            self._forget()
            outside.wait_stream(stream)

    def run(self, key: Hashable, arrays: Arrays, compute: Compute) -> Tensor:
        """Return the result of ``compute`` on ``arrays``. With the same ``key`` and shapes it must be the same
        computation. Any later run may overwrite the result.
        """
        shapes = (key, *((name, array.shape, array.dtype.str) for name, array in arrays.items()))
        recording = self._recordings.get(shapes)
        if recording is not None:
            self._recordings.move_to_end(shapes)
            recording.inputs.put(arrays)
        elif not self.records:
            return compute({name: to_device(array, self.device) for name, array in arrays.items()})
        else:
            inputs = PackedArrays.of(arrays, self.device)
            recording = self._record(inputs, compute) if shapes in self._seen else None
            if recording is None:
                self._seen.add(shapes)
                return self._compute(inputs.tensors, compute)
            self._recordings[shapes] = recording
            if len(self._recordings) > MAX_RECORDINGS:
                self._recordings.popitem(last=False)
        recording.graph.replay()
        return recording.output

    def _compute(self, inputs: dict[str, Tensor], compute: Compute) -> Tensor:
        before = torch.cuda.memory_allocated()
        try:
            out = compute(inputs)
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
            self._forget()  # the graphs' memory is not free for anything else
            out = compute(inputs)
        self._most_bytes = max(self._most_bytes, torch.cuda.max_memory_allocated() - before)
        return out

    def _record(self, inputs: PackedArrays, compute: Compute) -> Recording | None:
        """Record a computation; None where that cannot be: then the operations are started one by one."""
        if not self._has_room():
            self._report_once("memory is short, so steps run without CUDA graphs, which is slower for small ones")
            return None
        graph = torch.cuda.CUDAGraph()
        complete = False
        try:
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = compute(inputs.tensors)
            except BaseException:
                with suppress(RuntimeError):  # it says only that something went wrong before
                    graph.capture_end()
                raise
            graph.capture_end()
            complete = True
        except torch.OutOfMemoryError:
            self._report_once("memory ran out for a CUDA graph: steps of this size run without")
            return None
        except RuntimeError as error:
            self.records = False
            self._report_once(f"steps run without CUDA graphs, which did not take one: {str(error).splitlines()[0]}")
            return None
        finally:
            if not complete:
                self._end_recording()
        self._pooled_bytes = self._most_bytes
        return Recording(inputs, graph, output)

    def _end_recording(self) -> None:
        """Tell the generator and the allocator that nothing is recorded any more, which a failed recording does not."""
        device = torch.cuda.current_device()
        generator = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(generator.clone_state())
        with suppress(RuntimeError, AttributeError):  # it knows already
            end_allocation_to_pool(device, self._pool)

    def _has_room(self) -> bool:
        """Whether there is memory for a graph: graphs share memory of their own, about as much as the largest step took
        without.
        """
        free, _ = torch.cuda.mem_get_info()
        return free > 1.5 * (self._most_bytes - self._pooled_bytes)

    def _forget(self) -> None:
        self._recordings.clear()
        self._pooled_bytes = 0
        torch.cuda.synchronize()
        torch.cuda.empty_cache()

    def _report_once(self, text: str) -> None:
        if not self._told:
            self._told = True
            self.report(text)


@lru_cache(maxsize=1)
def _stream() -> Any:
    """Get the stream of recordings, one for the process: memory that was used in a stream stays with it."""
    return torch.cuda.Stream()
