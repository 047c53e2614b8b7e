"""Candidates and free text of prompted tasks: trees of candidates and batches that shrink, against plain loops.

python tests/benchmarks/bench_decoders.py [--model FOLDER] [--device cuda] [--threads 1] [--only boolq generation]

Without a model, random weights of a LLaMA shape (8 layers, 512 wide, 32,000 tokens) are used. Prompts are random tokens
of the lengths that the tasks have. All ways give the same scores to 1e-3 and the same texts, which is checked. Steps of
fine-tunes are timed by bench_decoder_steps.py.

Beside each ratio that is measured stands that of the products that are computed, which is what a faster program could
reach: tokens times the weights of the layers, and tokens whose logits are wanted times those of the head. On a CPU
processor time is measured, so that other programs do not change the numbers much; of several threads it is the sum.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench_training import machine, now
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

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
ANSWER = 50
"""Tokens of an answer."""
ALONE = 4
"""Prompts that the plain loops take: each is as slow as the next."""


class Numbers:
    """Tokenizer of texts that are numbers of tokens."""

    eos_token_id = None

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
    peer: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return wrap(peer.base_model, id="random")


def in_transformers(model: LoadedModel) -> Any:
    """The same weights as transformers' own causal language model."""
    with torch.device("meta"):
        peer: Any = AutoModelForCausalLM.from_config(model.config)
    setattr(peer, peer.base_model_prefix, model.backbone)
    head = LmHead.of(model)
    peer.get_output_embeddings().weight = nn.Parameter(head.weight, requires_grad=False)
    return peer.eval()


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


@torch.no_grad()
def plain_loop(peer: Any, model: LoadedModel, examples: Examples) -> list[float]:
    """Score each candidate as transformers' users do: one whole text at a time, its logits everywhere."""
    scores = []
    for prompt, candidates in zip(examples.text, examples.candidates or [], strict=True):
        for one in candidates:
            ids = torch.tensor(model.tokenizer([prompt + one])["input_ids"], device=peer.device)
            count = len(model.tokenizer([one])["input_ids"][0])
            log_probs = peer(input_ids=ids).logits[0, -count - 1 : -1].float().log_softmax(-1)
            scores.append(float(log_probs.gather(1, ids[0, -count:, None]).mean()))
    return scores


@torch.no_grad()
def generated(peer: Any, prompts: Encoded) -> list[list[int]]:
    """Answers of transformers' own greedy loop, one prompt at a time."""
    found = []
    for prompt in prompts.ids:
        ids = torch.from_numpy(prompt.astype(np.int64))[None].to(peer.device)
        whole = peer.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=ANSWER,
            max_new_tokens=ANSWER,
            do_sample=False,
            use_cache=True,
        )
        found.append(whole[0, len(prompt) :].tolist())
    return found


def timed(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, on a CPU of processor time, and what it gave. What is slow once was done before."""
    clock = time.process_time if device == "cpu" else lambda: now(device)
    started = clock()
    found = work()
    return clock() - started, found


def products(model: LoadedModel, tokens: int, logits: int, prompts: int) -> float:
    """Multiplications of weights for each prompt: ``tokens`` go through the layers, ``logits`` through the head."""
    head = LmHead.of(model).weight
    layers = sum(p.numel() for p in model.backbone.parameters() if p.dim() == 2 and len(p) != len(head))
    return (tokens * layers + logits * head.numel()) / prompts


def time_candidates(name: str, model: LoadedModel, peer: Any, bank: Bank, count: int, device: str) -> None:
    """Time the scores of a task's shape, and print a line of them."""
    examples = prompts_of(np.random.default_rng(0), count, int(model.config.vocab_size), SHAPES[name])
    few = examples.take(np.arange(min(ALONE, count)))
    encoded = encode_prompts(model.tokenizer, examples, 2048)

    def ours() -> np.ndarray:
        with bank.installed():
            return Predictor(bank, {}, {}, Session(bank.precision.device)).predict(encoded)

    ours()
    seconds, found = timed(device, ours)
    batched, scores = timed(device, lambda: one_row_each(model, examples, everywhere=False))
    everywhere, same = timed(device, lambda: one_row_each(model, examples, everywhere=True))
    alone, first = timed(device, lambda: plain_loop(peer, model, few))
    flat = found.reshape(-1)
    for others in (scores, same, first):
        assert np.abs(flat[: len(others)] - np.array(others)).max() < 1e-3
    rates = [count / one for one in (seconds, batched, everywhere)] + [len(few) / alone]
    wholes = sum(
        len(model.tokenizer([text + one])["input_ids"][0])
        for text, own in zip(examples.text, examples.candidates or [], strict=True)
        for one in own
    )
    answers = encoded.tokens.answers
    assert answers is not None
    example = np.repeat(np.arange(count), [] if encoded.answers is None else encoded.answers[:, 1])
    states = len(np.unique(np.stack([example, answers.at]), axis=1).T)
    mine = products(model, int(encoded.lengths.sum()), states, count)
    computed = [products(model, wholes, len(answers.ids), count)] + 2 * [products(model, wholes, wholes, count)]
    line = "".join(f"{rates[0] / rate:8.1f} ({one / mine:4.1f})" for rate, one in zip(rates[1:], computed, strict=True))
    print(f"{name:8} {rates[0]:9.2f} {line}", flush=True)


def time_generation(model: LoadedModel, peer: Any, bank: Bank, count: int, device: str) -> None:
    """Time written answers, and print a line of them."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(*QUESTIONS, count)
    prompts = Encoded.of([rng.integers(10, int(model.config.vocab_size), n) for n in lengths], None, np.zeros(count))
    few = prompts.take(np.arange(min(ALONE, count)))
    together = dict(free_text.TOKENS)

    def written(some: Encoded, most: int, tokens: int = ANSWER) -> list[str]:
        free_text.TOKENS[bank.precision.device.type] = most
        with bank.installed():
            return free_text.Writer(bank, Writing(tokens, "\n")).texts(some)

    most = together[bank.precision.device.type]
    written(few, most)
    seconds, texts = timed(device, lambda: written(prompts, most))
    reading, _ = timed(device, lambda: written(prompts, most, 1))
    alone, same = timed(device, lambda: written(few, 1))
    reading_alone, _ = timed(device, lambda: written(few, 1, 1))
    plain, tokens = timed(device, lambda: generated(peer, few))
    equal = [a == b == " ".join(map(str, c)) for a, b, c in zip(texts, same, tokens, strict=False)]
    each = [seconds / count, reading / count] + [one / len(few) for one in (alone, reading_alone, plain)]
    # What writing would take if its products were as fast as those of reading, which are large ones.
    rate = products(model, int(lengths.sum()), count, count) / each[1]
    best = each[1] + products(model, ANSWER - 1, ANSWER - 1, 1) / rate
    print(
        f"{ANSWER} tokens written, seconds per prompt: {each[0]:.3f} in batches, of which {each[1]:.3f} read them;"
        f" {each[2]:.3f} one by one, of which {each[3]:.3f}; {each[4]:.3f} by transformers' generate\n"
        f"ratio {each[2] / each[0]:.1f} to one by one ({each[2] / best:.1f} if writing computed as fast as reading),"
        f" {(each[2] - each[3]) / (each[0] - each[1]):.1f} of writing alone, {each[4] / each[0]:.1f} to generate;"
        f" {sum(equal)} of {len(equal)} answers are the same by all three"
    )


def main() -> None:
    """Time every way on the same prompts and compare what they find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--only", nargs="*", default=[*SHAPES, "generation"])
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    model = random_model() if args.model is None else load_model(args.model)
    model.tokenizer = Numbers()  # type: ignore[assignment] - prompts are random tokens whatever the model
    model.backbone.to(device)
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", device))
    peer = in_transformers(model)
    print(f"{args.model or 'random LLaMA shape'}, {args.prompts} prompts, float32; {machine(args)}")
    print("how many times as fast as each plain way (by the products that are computed)")
    print("         prompts/s   rows, answers  rows, all logits  transformers, one text at a time")
    for name in [name for name in args.only if name in SHAPES]:
        time_candidates(name, model, peer, bank, args.prompts, args.device)
    if "generation" in args.only:
        time_generation(model, peer, bank, args.prompts, args.device)


if __name__ == "__main__":
    main()
