"""Adapters of the PEFT library that a fine-tune can train instead of biases: a row for each, without PEFT itself.

What PEFT makes of a row is in :mod:`beft_core.training.methods.adapters`. Two methods that the paper names have no row:
bottleneck adapters (Houlsby et al., https://arxiv.org/abs/1902.00751), because the maintained library that has them,
``adapters``, needs a transformers release before 5; and GaLore (Zhao et al., https://arxiv.org/abs/2403.03507), because
it trains every weight, by an optimizer of its own, and leaves no adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LORA, DORA, VERA = (f"https://arxiv.org/abs/{number}" for number in ("2106.09685", "2402.09353", "2310.11454"))
IA3, PREFIX, PROMPT = (f"https://arxiv.org/abs/{number}" for number in ("2205.05638", "2101.00190", "2104.08691"))
LN, MEZO, BEFT = (f"https://arxiv.org/abs/{number}" for number in ("2312.11420", "2305.17333", "2509.15974"))


@dataclass(frozen=True)
class Setting:
    """Number that a method has besides those of every fine-tune; a field of RunConfig."""

    field: str
    """Name of the field of RunConfig."""
    argument: str
    """Name of the field of PEFT's configuration that it fills."""
    default: float
    least: float
    most: float
    source: str
    """Source of the default, in words."""
    whole: bool = True
    """Whether only whole numbers are values."""


@dataclass(frozen=True)
class Wrapped:
    """Sizes of a module that an adapter wraps."""

    term: str
    """Bias term that the module has, or could have."""
    outputs: int
    inputs: int
    """Number of inputs; 0 for a LayerNorm."""


Count = Callable[[Sequence[Wrapped], Any, Any], int]
"""Function from the wrapped modules, the configuration (RunConfig) and the model's layout to the number of values that
are trained.
"""


@dataclass(frozen=True)
class Adapter:
    """Method of the PEFT library."""

    config_class: str
    """Name of its configuration in the module ``peft``."""
    paper: str
    """Address of the paper."""
    count: Count
    settings: tuple[Setting, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields of PEFT's configuration that are always the same."""
    targets: tuple[str, ...] = ()
    """Bias terms whose modules it wraps unless ``--targets`` names others; empty: it wraps none, but puts vectors
    before the text.
    """
    norms: bool = False
    """Whether it wraps LayerNorms, and nothing else, instead of linear modules."""
    conv1d: bool = True
    """Whether it can wrap GPT-2's ``Conv1D``."""
    scales_inputs_of: tuple[str, ...] = ()
    """Terms of which it scales the inputs of the module, instead of its outputs (IA3's feed-forward modules)."""
    alone_in_row: bool = False
    """Whether an example must have a row of its own, because the vectors before the text see the text."""

    @property
    def wraps(self) -> bool:
        """Whether modules are wrapped; otherwise vectors come before the text."""
        return bool(self.targets)


def _rank(default: int, source: str) -> Setting:
    return Setting("rank", "r", default, 1, 4096, source)


_LORA = (
    _rank(8, "as for RoBERTa in the paper"),
    Setting("alpha", "lora_alpha", 16.0, 1e-3, 1e5, "as for RoBERTa-large in the paper", whole=False),
)


def _low_rank(modules: Sequence[Wrapped], config: Any, layout: Any) -> int:
    return sum(config.rank * (one.outputs + one.inputs) for one in modules)


def _tokens(default: int, source: str) -> Setting:
    return Setting("virtual_tokens", "num_virtual_tokens", default, 1, 4096, source)


ADAPTERS: dict[str, Adapter] = {
    "lora": Adapter("LoraConfig", LORA, _low_rank, _LORA, targets=("q", "v")),
    "dora": Adapter(
        "LoraConfig",
        DORA,
        lambda modules, config, layout: _low_rank(modules, config, layout) + sum(one.outputs for one in modules),
        _LORA,
        {"use_dora": True},
        targets=("q", "v"),
    ),
    "vera": Adapter(
        "VeraConfig",
        VERA,
        lambda modules, config, layout: sum(config.rank + one.outputs for one in modules),
        (_rank(256, "as for RoBERTa-large in the paper, and PEFT's default"),),
        targets=("q", "v"),
    ),
    "ia3": Adapter(
        "IA3Config",
        IA3,
        lambda modules, config, layout: sum(one.inputs if one.term == "mlp_out" else one.outputs for one in modules),
        targets=("k", "v", "mlp_out"),
        scales_inputs_of=("mlp_out",),
    ),
    "prefix": Adapter(
        "PrefixTuningConfig",
        PREFIX,
        lambda modules, config, layout: config.virtual_tokens * layout.layers * 2 * layout.kv_heads * layout.head_dim,
        (_tokens(5, f"as in MeZO, whose code the decoder experiments of BEFT's authors use: {MEZO}"),),
    ),
    "prompt-tuning": Adapter(
        "PromptTuningConfig",
        PROMPT,
        lambda modules, config, layout: config.virtual_tokens * layout.hidden_size,
        (_tokens(20, "beyond which the paper finds little gain"),),
        {"prompt_tuning_init": "SAMPLE_VOCAB"},
        alone_in_row=True,
    ),
    "ln-tuning": Adapter(
        "LNTuningConfig",
        LN,
        lambda modules, config, layout: sum(2 * one.outputs for one in modules),
        targets=("ln1", "ln2"),
        norms=True,
    ),
    "peft-beft": Adapter(
        "BeftConfig",
        BEFT,
        lambda modules, config, layout: sum(one.outputs for one in modules),
        targets=("v",),
        conv1d=False,
    ),
}
"""Adapters by the name of the method."""
