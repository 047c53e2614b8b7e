"""Candidates and free text of prompted tasks: trees of candidates and batches that shrink, against plain loops.

python tests/benchmarks/bench_decoders.py [--model FOLDER] [--device cuda] [--prompts 48] [--only boolq generation]

Without a model, random weights of a LLaMA shape (8 layers, 512 wide, 32,000 tokens) are used. Prompts are random tokens
of the lengths that the tasks have. All ways give the same scores to 1e-3 and the same texts, which is checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench_training import machine, now
from transformers import AutoConfig, AutoModel

from beft_core.models.biases import LoadedModel
from beft_core.models.lm_head import LmHead
from beft_core.models.load import load_model, wrap
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Encoded, Writing
from beft_core.training.batches.plan import by_length
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives import free_text
from beft_core.training.precision import Precision, pick_device
from beft_core.training.predict import EVAL_TOKENS, Predictor
from beft_core.training.session import Session

SHAPES = {"sst2": (12, 30, 2, 1), "boolq": (90, 200, 2, 1), "copa": (8, 14, 2, 8), "record": (150, 300, 20, 15)}
"""Shape of a task by name: least and most tokens of a prompt, candidates, tokens of a candidate."""
QUESTIONS = (100, 250)
"""Least and most tokens of a prompt whose answer is written."""


class Numbers:
    """Tokenizer of texts that are numbers of tokens."""

    eos_token_id = 1

    def __call__(self, texts: str | list[str], **_: Any) -> dict[str, Any]:
        """Read the numbers of one text or of several."""
        if isinstance(texts, str):
            return {"input_ids": [int(word) for word in texts.split() if word.isdigit()]}
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    def decode(self, tokens: list[int], **_: Any) -> str:
        """Write the numbers."""
        return " ".join(map(str, tokens))


def random_model() -> LoadedModel:
    """A LLaMA of random weights with a tied head."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8, "num_attention_heads": 8}
    config = AutoConfig.for_model("llama", vocab_size=32000, tie_word_embeddings=True, **sizes)
    return wrap(AutoModel.from_config(config, attn_implementation="sdpa"), id="random")


def prompts_of(rng: np.random.Generator, count: int, vocabulary: int, shape: tuple[int, int, int, int]) -> Examples:
    """Random prompts with candidates."""

    def text(tokens: int) -> str:
        return "".join(f" {number}" for number in rng.integers(10, vocabulary, tokens))

    least, most, candidates, tokens = shape
    own = [tuple(text(tokens) for _ in range(candidates)) for _ in range(count)]
    lengths = rng.integers(least, most + 1, count)
    return Examples([text(n) for n in lengths], None, np.zeros(count, np.int64), candidates=own)


@torch.no_grad()
def one_row_each(model: LoadedModel, examples: Examples, everywhere: bool) -> list[float]:
    """Score each candidate as a row of its own, rows of like length together.

    ``everywhere``: compute the logits of all tokens, as a causal language model of transformers does.
    """
    head, device = LmHead.of(model), next(model.backbone.parameters()).device
    rows, counts = [], []
    for prompt, candidates in zip(examples.text, examples.candidates or [], strict=True):
        for one in candidates:
            rows.append(model.tokenizer([prompt + one])["input_ids"][0])
            counts.append(len(model.tokenizer([one])["input_ids"][0]))
    scores = [0.0] * len(rows)
    for group in by_length(np.array([len(row) for row in rows]), EVAL_TOKENS[device.type]):
        width = max(len(rows[i]) for i in group)
        ids = torch.tensor([rows[i] + [0] * (width - len(rows[i])) for i in group], device=device)
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in group], device=device)
        hidden = model.backbone(input_ids=ids, attention_mask=mask)[0]
        logits = torch.stack([head.logits(row) for row in hidden]) if everywhere else None
        for at, i in enumerate(group):
            reads = slice(len(rows[i]) - counts[i] - 1, len(rows[i]) - 1)
            own = logits[at, reads] if logits is not None else head.logits(hidden[at, reads])
            targets = torch.tensor(rows[i][-counts[i] :], device=device)
            scores[i] = float(own.log_softmax(-1).gather(1, targets[:, None]).mean())
    return scores


def timed(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the second call, and what it gave."""
    work()
    started = now(device)
    found = work()
    return now(device) - started, found


def main() -> None:
    """Time every way on the same prompts and compare what they find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--only", nargs="*", default=[*SHAPES, "generation"])
    args = parser.parse_args()
    device = pick_device(args.device)
    model = random_model() if args.model is None else load_model(args.model)
    model.tokenizer = Numbers()  # type: ignore[assignment] - prompts are random tokens whatever the model
    model.backbone.to(device)
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", device))
    rng = np.random.default_rng(0)
    vocabulary = int(model.config.vocab_size)
    print(f"{args.model or 'random LLaMA shape'}, {args.prompts} prompts, float32; {machine(args)}")
    print("prompts per second          ours  own rows, answers  own rows, all logits  ratio to each")
    for name in [name for name in args.only if name in SHAPES]:
        examples = prompts_of(rng, args.prompts, vocabulary, SHAPES[name])
        encoded = encode_prompts(model.tokenizer, examples, 2048)

        def ours(encoded: Encoded = encoded) -> np.ndarray:
            with bank.installed():
                return Predictor(bank, {}, {}, Session(device)).predict(encoded)

        seconds, found = timed(args.device, ours)
        others = []
        for everywhere in (False, True):
            took, scores = timed(args.device, lambda e=examples, all=everywhere: one_row_each(model, e, all))
            others.append(took)
            assert np.abs(found.reshape(-1) - np.array(scores)).max() < 1e-3
        rates = [args.prompts / one for one in (seconds, *others)]
        ratios = " ".join(f"{one / seconds:.1f}" for one in others)
        print(f"{name:22} {rates[0]:9.1f} {rates[1]:18.1f} {rates[2]:21.1f}  {ratios}")
    if "generation" in args.only:
        lengths = rng.integers(*QUESTIONS, args.prompts)
        prompts = Encoded.of([rng.integers(10, vocabulary, n) for n in lengths], None, np.zeros(args.prompts))

        def written(most: int) -> list[str]:
            free_text.TOKENS[device.type] = most
            with bank.installed():
                return free_text.Writer(bank, Writing(50, "\n")).texts(prompts)

        together, texts = timed(args.device, lambda: written(8192))
        alone, same = timed(args.device, lambda: written(1))
        equal = sum(a == b for a, b in zip(texts, same, strict=True))
        rates = f"{args.prompts / together:.2f} prompts per second in batches, {args.prompts / alone:.2f} one by one"
        print(
            f"generation of 50 tokens: {rates}, ratio {alone / together:.1f}; {equal} of {len(texts)} texts are equal"
        )


if __name__ == "__main__":
    main()
