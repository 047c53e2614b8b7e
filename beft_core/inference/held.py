"""Models and fine-tunes that a process holds in memory, so that a page's questions about sentences are answered at
once (:mod:`beft_core.execution.model_service`).
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from beft_core.config import RunConfig
from beft_core.inference.adapters import adapter_logits
from beft_core.inference.answers import Answer
from beft_core.inference.examples import scored_examples
from beft_core.inference.logits import in_banks, variant_logits
from beft_core.inference.predict import ask_prompts, predict
from beft_core.inference.resident import Resident, add_zero_biases
from beft_core.inference.sending import received
from beft_core.inference.text.writing import Draft, SideBySide
from beft_core.inference.variants import Variant
from beft_core.merging.config import recorded
from beft_core.models.biases import LoadedModel
from beft_core.models.null_certificate import few_threads
from beft_core.models.source import version_of
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.prompts.demonstrations import demonstrated
from beft_core.training import inputs
from beft_core.training.objectives.registry import objective_of
from beft_core.training.precision import Precision

MAX_MODELS = 2
"""Most base models in memory."""
MAX_SNAPSHOTS = 24
"""Most snapshots in memory."""
MAX_WRITERS = 3
"""Most texts whose keys and values are in memory; another one reads what it has written so far once more."""
MAX_BANKS = 2
"""Most banks in memory: what lies beside a model is half of what a question costs, and the next one is mostly about the
same fine-tunes."""

_T = TypeVar("_T")


class HeldFineTunes:
    """Base models and snapshots of the last questions, those asked for longest ago forgotten first."""

    def __init__(self) -> None:
        self._models: OrderedDict[Hashable, LoadedModel] = OrderedDict()
        self._snapshots: OrderedDict[Hashable, Snapshot] = OrderedDict()
        self._writers: OrderedDict[Hashable, SideBySide] = OrderedDict()
        self._banks: OrderedDict[Hashable, Resident] = OrderedDict()

    def answer(
        self,
        runs: Sequence[Mapping[str, Any]],
        texts: list[str],
        text_pairs: list[str] | None,
        task: str,
        apart: list[int],
        model: str,
    ) -> dict[str, Any]:
        """Ask fine-tunes of one base model about texts: :func:`beft_core.inference.predict.predict`.

        ``runs``: as :mod:`beft_core.inference.sending` makes them; ``model``: where the base model is found. Returns
        ``answers``, each as :meth:`beft_core.inference.answers.Answer.to_dict`, and ``seconds`` without loading.

        Raises:
            UserError: as :func:`beft_core.inference.predict.predict`, and for snapshots and models that cannot be read.
        """
        about = partial(predict, texts=texts, text_pairs=text_pairs, task=task, apart=apart)
        return self._asked(runs, task, model, about)

    def ask(
        self,
        runs: Sequence[Mapping[str, Any]],
        prompts: list[str],
        candidates: list[str],
        task: str,
        apart: list[int],
        model: str,
    ) -> dict[str, Any]:
        """Ask fine-tunes of one base model which candidate follows prompts that are written out
        (:func:`beft_core.inference.predict.ask_prompts`). Fields, result and errors are those of :meth:`answer`.
        """
        about = partial(ask_prompts, prompts=prompts, candidates=candidates, task=task, apart=apart)
        return self._asked(runs, task, model, about)

    def _asked(
        self, runs: Sequence[Mapping[str, Any]], task: str, model: str, about: Callable[..., list[Answer]]
    ) -> dict[str, Any]:
        """Ask fine-tunes by a function that takes snapshots, their names, a configuration and a loader."""
        snapshots = [self.snapshot(run) for run in runs]
        config = RunConfig(**{**recorded(snapshots, task), "model": model, "device": "cpu"})
        loaded = self.model(config)
        began = time.perf_counter()
        names = [run["name"] for run in runs]
        with few_threads(loaded.backbone):
            answers = about(snapshots, names=names, config=config, loader=self.model, banks=self._in_banks)
        return {"answers": [one.to_dict() for one in answers], "seconds": time.perf_counter() - began}

    def write(
        self,
        runs: Sequence[Mapping[str, Any]],
        prompt: str,
        task: str,
        model: str,
        factors: list[float],
        tokens: list[list[int]],
        ended: list[int | None],
        seconds: float,
    ) -> dict[str, Any]:
        """Go on with texts after one prompt, that of the base model first, for so many seconds.

        ``factors``: how much of each fine-tune's change is there from now on; ``tokens``, ``ended``: what was written
        until now (:class:`beft_core.inference.text.writing.Draft`), no rows to begin. Keys and values of the last
        :data:`MAX_WRITERS` texts are kept, so that the next call goes on at once, also where several windows write in
        turn. Returns ``tokens`` and ``ended``, ``texts`` of each row, ``done``.

        Raises:
            UserError: as :class:`beft_core.inference.text.writing.SideBySide`, or rows that are no such draft.
        """
        snapshots = [self.snapshot(run) for run in runs]
        config = RunConfig(**{**recorded(snapshots, task), "model": model, "device": "cpu"})
        loaded = self.model(config)
        key = json.dumps([list(runs), task, prompt, model], sort_keys=True)
        with few_threads(loaded.backbone):
            begin = partial(SideBySide, loaded, snapshots, task, prompt, config.max_length)
            writer = _kept(self._writers, key, begin, MAX_WRITERS)
            draft = Draft([list(row) for row in tokens], list(ended)) if tokens else writer.start()
            writer.write(draft, factors, seconds)
        return {
            "tokens": draft.tokens,
            "ended": draft.ended,
            "texts": writer.texts(draft),
            "done": draft.done or draft.length >= writer.most,
        }

    def score(
        self,
        runs: Sequence[Mapping[str, Any]],
        task: str,
        model: str,
        limit: int | None = None,
        table: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Read the validation sets of a task under fine-tunes of one base model, those of biases in the same passes.

        All read the same texts: ask for fine-tunes apart that record other token limits or demonstrations.

        ``limit``: most examples of each set, always the same ones; ``table``: fields of the user's own table that the
        head was trained on. Returns ``logits``, for each fine-tune set -> [examples, outputs], and ``seconds``.

        Raises:
            UserError: the task's data, a snapshot or the model is not here, or they do not fit each other.
        """
        snapshots = [self.snapshot(run) for run in runs]
        config = RunConfig(**{**recorded(snapshots, task), "model": model, "device": "cpu"})
        # Before any is left out: which demonstrations an example has follows from its place among all.
        data = demonstrated(scored_examples(snapshots[0], task, None, table), config.demonstrations).limited(limit)
        loaded = self.model(config)
        began = time.perf_counter()
        found: list[dict[str, Any]] = [{} for _ in runs]
        for name, examples in data.evals.items():
            encoded = objective_of(data.spec).encode(loaded, examples, config.max_length)
            biases = [Variant(one, task) for one in snapshots if one.adapter is None]
            shared = iter(variant_logits(loaded, biases, encoded) if biases else [])
            for own, one in zip(found, snapshots, strict=True):
                rows = next(shared) if one.adapter is None else adapter_logits(loaded, one, task, encoded)
                own[name] = rows.tolist()
        return {"logits": found, "seconds": time.perf_counter() - began}

    def model(self, config: RunConfig) -> LoadedModel:
        """Load the base model of a configuration, once while its files stay as they are. Raises UserError as
        :func:`beft_core.training.inputs.load`.
        """
        key = config.model, version_of(config.model), config.add_bias, config.rewrite_scale
        if key not in self._models:
            self._writers.clear()  # they hold their models, of which one may have to go
            self._banks.clear()
        return _kept(self._models, key, lambda: inputs.load(config), MAX_MODELS)

    def _in_banks(
        self, model: LoadedModel, variants: Sequence[Variant], precision: Precision | None = None
    ) -> Iterator[tuple[int, Resident]]:
        """Do what :func:`beft_core.inference.logits.in_banks` does, with what all lay in for the last questions."""
        add_zero_biases(model, variants)  # a bank is of the biases that the model had then
        arithmetic = None if precision is None else (precision.low, str(precision.device))
        key = (id(model), len(model.layout.slots), arithmetic, *(one.identity for one in variants))
        if key in self._banks:
            self._banks.move_to_end(key)
            yield 0, self._banks[key]
            return
        made = in_banks(model, variants, precision)
        start, first = next(made)
        if len(first.variants) == len(variants):
            _kept(self._banks, key, lambda: first, MAX_BANKS)
        yield start, first
        yield from made

    def snapshot(self, sent: Mapping[str, Any]) -> Snapshot:
        """Open a snapshot as :func:`beft_core.inference.sending.received`, once."""
        key = json.dumps({name: value for name, value in sent.items() if name != "name"}, sort_keys=True)
        return _kept(self._snapshots, key, lambda: received(sent), MAX_SNAPSHOTS)


def _kept(store: OrderedDict[Hashable, _T], key: Hashable, make: Callable[[], _T], most: int) -> _T:
    """Get a value of a store, made where it is not there; beyond ``most`` the one asked for longest ago goes first."""
    if key not in store:
        while len(store) >= most:  # the memory of the old one first
            store.popitem(last=False)
        store[key] = make()
    store.move_to_end(key)
    return store[key]
