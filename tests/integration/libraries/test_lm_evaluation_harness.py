"""Log-probabilities of candidates against EleutherAI's lm-evaluation-harness, where ``pip install lm-eval`` was done.

Compared are the sums over a candidate's tokens on a tiny random OPT with a tokenizer of words, for prompts with several
candidates of one and of several tokens: theirs come from one row per candidate, ours from a tree over one prompt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import VARIED, Prompts
from tiny_models import CONFIGS
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from beft_core.models.load import wrap
from beft_core.training.batches.prompted import encode_prompts
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision
from beft_core.training.predict import Predictor
from beft_core.training.session import Session

CPU = torch.device("cpu")


def tokenizer_of_words() -> PreTrainedTokenizerFast:
    """A tokenizer of the words of the examples, each with its number, that begins texts with OPT's first token."""
    texts = [text + one for text, own in zip(VARIED.text, VARIED.candidates or [], strict=True) for one in own]
    words = dict.fromkeys(word.strip() for text in texts for word in Prompts.words(text))
    numbers = {"<s>": 0, "<unk>": 1, "</s>": 2} | {word: at for at, word in enumerate(words, 3)}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", unk_token="<unk>", eos_token="</s>")


def test_sums_are_those_of_the_harness() -> None:
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is not installed")
    from lm_eval.api.instance import Instance

    tokenizer = tokenizer_of_words()
    torch.manual_seed(0)
    model_type, values = CONFIGS["opt"]
    config = AutoConfig.for_model(
        model_type, **{**values, "tie_word_embeddings": True, "vocab_size": len(tokenizer), "init_std": 0.5}
    )
    peer: Any = AutoModelForCausalLM.from_config(config).eval()
    harness = huggingface.HFLM(pretrained=peer, tokenizer=tokenizer, backend="causal", add_bos_token=True)
    pairs = [(text, one) for text, own in zip(VARIED.text, VARIED.candidates or [], strict=True) for one in own]
    requests = [Instance("loglikelihood", {}, pair, at) for at, pair in enumerate(pairs)]
    theirs = [total for total, _ in harness.loglikelihood(requests, disable_tqdm=True)]

    model = wrap(peer.base_model, tokenizer, id="tiny")
    bank = Bank(model, [], runs=1, classes=None, precision=Precision("float32", CPU))
    encoded = encode_prompts(tokenizer, VARIED, 64, model_type="opt")
    with bank.installed():
        means = Predictor(bank, {}, {}, Session(CPU)).predict(encoded)
    own = [means[at, number] for at, some in enumerate(VARIED.candidates or []) for number in range(len(some))]
    lengths = [len(one.split()) for _, one in pairs]
    assert max(lengths) > 1 and np.ptp(theirs) > 1
    np.testing.assert_allclose(np.array(own) * lengths, theirs, atol=1e-4, rtol=1e-5)
