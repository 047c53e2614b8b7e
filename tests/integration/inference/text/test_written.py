"""Texts under many variants are those that each writes by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from example_decoder import asked_fine_tune, write_decoder

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.text.writing import SideBySide
from beft_core.inference.text.written import written_by
from beft_core.inference.variants import Variant
from beft_core.tasks.examples import Examples
from beft_core.training import inputs
from beft_core.training.batches.encoded import Writing
from beft_core.training.batches.prompted import encode_questions
from beft_core.training.precision import Precision

PROMPT = "a film of some length"
FLOAT = Precision("float32", torch.device("cpu"))


def test_each_variant_writes_what_it_writes_by_itself(tmp_path: Path) -> None:
    model = inputs.load(RunConfig(model=str(write_decoder(tmp_path / "tiny")), add_bias=("v",)))
    one, other = asked_fine_tune(model), asked_fine_tune(model, seed=1)
    asked = Examples([PROMPT, "another"], None, np.zeros(2, np.int64))
    prompts = encode_questions(model.tokenizer, asked, 64, Writing(8, "\n"))
    factors = (1.0, 0.0, -1.0, 0.5)
    variants = [Variant(one, "asks", {"v": factor}) for factor in factors]
    counted: list[int] = []
    texts = written_by(model, variants, prompts, precision=FLOAT, advance=counted.append)
    assert sum(counted) == len(variants) * 2 and len(set(map(tuple, texts))) > 2
    for factor, (text, _) in zip(factors, texts, strict=True):
        by_itself = SideBySide(model, [one], "asks", PROMPT, 64)
        draft = by_itself.start()
        for _ in range(8):
            by_itself.write(draft, [factor], 0.0)
        assert by_itself.texts(draft)[1] == text
    with pytest.raises(UserError, match="several fine-tunes"):
        written_by(model, [Variant(one, "asks"), Variant(other, "asks")], prompts, precision=FLOAT)
