"""Vectors before the text, as prefix and prompt tuning train them, in passes of any layout.

Prefix tuning gives every layer keys and values of tokens that are not there; prompt tuning gives the model embeddings
of such tokens. Both stand at positions 0 to n - 1 and move the text by n, as in PEFT's own forward pass. PEFT holds the
vectors; here they only enter the pass, because PEFT's classes know neither packed rows nor answers that branch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from beft_core.config import BOUNDS, RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel

CACHE = ("past_key_values", "cache")
"""Names that a backbone's argument of keys and values may have: the usual one, and that of later BERTs."""


class VirtualTokens:
    """Hooks on a backbone that put PEFT's vectors before the text of every pass."""

    def __init__(self, model: LoadedModel, peft: Any) -> None:
        """``peft``: PEFT's model around the backbone, whose prompt encoder holds the vectors."""
        self.model, self.peft = model, peft
        self.layout = model.layout
        self.count: int = peft.peft_config["default"].num_virtual_tokens
        self.embeds = peft.peft_config["default"].peft_type.value == "PROMPT_TUNING"
        self._cut = 0
        """Number of states at the left of the pass in progress that are not the text's."""

    @staticmethod
    def require(model: LoadedModel, config: RunConfig) -> None:
        """Check that a model takes vectors before the text, and has positions for them.

        Raises:
            UserError: it does not.
        """
        backbone: Any = model.backbone
        embedded = backbone.get_input_embeddings().weight.shape[1]
        wanted = "inputs_embeds" if config.method.adapter and config.method.adapter.alone_in_row else None
        accepted = inspect.signature(model.backbone.forward).parameters
        # BLOOM counts positions in the mask, which has no place for keys without a token.
        unfit = wanted is None and (_cache_name(model) is None or hasattr(model.backbone, "build_alibi_tensor"))
        if unfit or (wanted is not None and (wanted not in accepted or embedded != model.layout.hidden_size)):
            raise UserError(
                f"got --method {config.mode} for {model.layout.model_type}, which takes no "
                f"{'embeddings of its own width' if wanted else 'keys and values'} from outside",
                "a model that does, such as bert, roberta, opt or llama",
                "--method lora",
            )
        if wanted and model.layout.head.pooling == "mean" and not model.layout.causal:
            raise UserError(
                f"got --method {config.mode} for {model.layout.model_type}, whose head reads the mean of all tokens",
                "a model whose head reads one token",
                "--method prefix, or lora",
            )
        window = model.layout.window
        assert config.virtual_tokens is not None, "a resolved configuration has them"
        if wanted is None and window is not None and config.virtual_tokens >= window:
            raise UserError(
                f"got {config.virtual_tokens} virtual tokens for {model.layout.model_type}, whose layers see {window} "
                "tokens back",
                f"at most {window - 1}",
            )
        positions = getattr(model.config, "max_position_embeddings", None)
        if type(positions) is int:
            positions -= model.layout.position_offset  # RoBERTa's first ones are never used
            left = positions - config.virtual_tokens
            if config.max_length > left:
                enough = BOUNDS["max_length"][0]
                few = f"--virtual-tokens {max(1, positions - config.max_length)}"
                raise UserError(
                    f"got {config.virtual_tokens} virtual tokens before texts of up to {config.max_length}",
                    f"at most {positions} together, which are this model's positions",
                    f"--max-length {left}" if left >= enough else few,
                )

    @staticmethod
    def sizes(model: LoadedModel, embeds: bool) -> dict[str, int]:
        """Give the sizes in PEFT's configuration: of ``embeds``, embeddings of tokens, else of keys and values."""
        layout = model.layout
        heads = layout.heads if embeds else layout.kv_heads
        width = layout.hidden_size if embeds else layout.kv_heads * layout.head_dim
        return {"token_dim": width, "num_attention_heads": heads, "num_layers": layout.layers}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Change what the backbone is given, and what it returns, while the context is open."""
        backbone = self.model.backbone
        self.model.embeddings_ahead = self.count if self.embeds else 0
        before = backbone.register_forward_pre_hook(self._before, with_kwargs=True)
        after = backbone.register_forward_hook(self._after)
        try:
            yield
        finally:
            before.remove()
            after.remove()
            self.model.embeddings_ahead = 0

    def _before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict]:
        given = dict(kwargs)
        ids: Tensor = given["input_ids"]
        name = _cache_name(self.model)
        cache = None if name is None else given.get(name)
        follows = cache is not None and cache.get_seq_length() > 0  # tokens that are written after others
        if given.get("position_ids") is not None:
            given["position_ids"] = given["position_ids"] + self.count
        elif follows:
            raise AssertionError("who keeps keys and values says positions")
        self._cut = self.count if self.embeds and not follows else 0
        if self.embeds and not follows:
            self._embed(given, ids)
        elif not self.embeds:
            assert name is not None, "VirtualTokens.require checked it"
            given[name] = self._keys_and_values(cache)
        # Embeddings that were read with a prompt stand in the room of its keys, whose mask knows them.
        if self._cut or not self.embeds:
            given["attention_mask"] = self._mask(given, ids)
        if cache is not None and not self.embeds:
            self._require_in_window(given["attention_mask"])
        return args, given

    def _require_in_window(self, mask: Tensor) -> None:
        """Check that every token that is written sees the whole prefix: padding stands between the two.

        Raises:
            UserError: layers see fewer tokens back.
        """
        if self.layout.window is not None and mask.shape[1] > self.layout.window:
            raise UserError(
                f"got a prefix before texts of {mask.shape[1]} tokens, whose layers see {self.layout.window} back",
                "shorter prompts and answers",
                f"--max-length {max(4, self.layout.window - self.count)}",
            )

    def _after(self, module: Any, args: tuple[Any, ...], output: Any) -> Any:
        if self._cut:
            states = output.last_hidden_state
            text = states[:, self._cut :]
            # A head that reads the first token reads the first vector, as transformers' classifiers under PEFT do.
            first = self.layout.head.pooling in ("pooler", "first") and not self.layout.causal
            output.last_hidden_state = torch.cat([states[:, :1], text[:, 1:]], dim=1) if first else text
        return output

    def _embed(self, given: dict[str, Any], ids: Tensor) -> None:
        """Replace the tokens by embeddings, [rows, n + tokens, hidden], and say their types and positions."""
        backbone: Any = self.model.backbone
        text = backbone.get_input_embeddings()(ids)
        vectors = self.peft.get_prompt(batch_size=len(ids)).to(text.dtype)
        given["inputs_embeds"] = torch.cat([vectors, text], dim=1)
        del given["input_ids"]
        if given.get("token_type_ids") is not None:
            given["token_type_ids"] = torch.nn.functional.pad(given["token_type_ids"], (self.count, 0))
        if given.get("position_ids") is not None:
            ahead = torch.arange(self.count, device=ids.device) + self.layout.position_offset
            given["position_ids"] = torch.cat([ahead.expand(len(ids), -1), given["position_ids"]], dim=1)

    def _keys_and_values(self, cache: Cache | None) -> Cache:
        """Make a cache of the keys and values of every layer, [1, heads, n, width] each, before those of ``cache``."""
        vectors = self.peft.prompt_encoder["default"](torch.arange(self.count, device=self._device)[None])
        per_layer = vectors.view(1, self.count, 2 * self.layout.layers, self.layout.kv_heads, self.layout.head_dim)
        pairs = per_layer.permute(2, 0, 3, 1, 4)  # (2 layers, 1, heads, n, width)
        inner: Any = [None] * self.layout.layers if cache is None else cache.layers
        return Cache(
            layers=[_PrefixLayer(pairs[2 * at], pairs[2 * at + 1], inner[at]) for at in range(self.layout.layers)]
        )

    @property
    def _device(self) -> torch.device:
        return next(self.model.backbone.parameters()).device

    def _mask(self, given: Mapping[str, Any], ids: Tensor) -> Any:
        """Extend an attention mask by the tokens that are not there, which every token of the text sees.

        A mask of tokens becomes [rows, n + tokens]; one of queries and keys gets n columns, and under prompt tuning n
        rows. An encoder gets the latter always: it would take a mask of tokens for one of its queries.
        """
        mask = given.get("attention_mask")
        if isinstance(mask, dict):
            return {kind: self._of_pairs(one, given, kind == "sliding_attention") for kind, one in mask.items()}
        if mask is not None and mask.dim() == 4:
            return self._of_pairs(mask, given, self.layout.window is not None)
        if mask is None:
            mask = torch.ones_like(ids)
        mask = torch.nn.functional.pad(mask, (self.count, 0), value=1)
        if self.embeds or self.layout.causal:
            return mask
        return (
            torch.zeros(mask.shape, device=mask.device)
            .masked_fill(mask == 0, torch.finfo(torch.float32).min)[:, None, None]
            .expand(-1, 1, ids.shape[1], -1)
        )

    def _of_pairs(self, mask: Tensor, given: Mapping[str, Any], windowed: bool) -> Tensor:
        """Extend an additive mask [rows, 1, tokens, tokens]: columns for the vectors, and rows where they are queries.

        ``windowed``: a token sees those vectors that are less than the window away.
        """
        lowest = torch.finfo(mask.dtype).min
        window = self.layout.window if windowed else None
        ahead = torch.arange(self.count, device=mask.device)
        columns = mask.new_zeros(*mask.shape[:3], self.count)
        if window is not None:
            at = given["position_ids"][:, -mask.shape[2] :] - self.layout.position_offset
            far = at[:, None, :, None] - ahead >= window
            columns = columns.masked_fill(far, lowest)
        extended = torch.cat([columns, mask], dim=3)
        if not self._cut:
            return extended
        every = torch.arange(extended.shape[3], device=mask.device)
        back = ahead[:, None] - every
        hidden = back < 0
        if window is not None:
            hidden |= back >= window
        rows = mask.new_zeros(hidden.shape).masked_fill(hidden, lowest).expand(len(mask), 1, -1, -1)
        return torch.cat([rows, extended], dim=2)


class _PrefixLayer(DynamicLayer):
    """Keys and values of one layer that stand before those of every row, and of another cache if there is one."""

    def __init__(self, keys: Tensor, values: Tensor, inner: Any = None) -> None:
        """``keys``, ``values``: [1, heads, n, width]; ``inner``: layer of a cache that keeps those of texts."""
        super().__init__()
        self.ahead, self.inner = (keys, values), inner

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return all that the tokens of this pass may look at, [rows, heads, n + tokens, width] each."""
        own = (key_states, value_states)
        if self.inner is not None:
            own = self.inner.update(key_states, value_states, *args, **kwargs)
        keys, values = (
            torch.cat([ahead.to(one).expand(len(one), -1, -1, -1), one], dim=2)
            for ahead, one in zip(self.ahead, own, strict=True)
        )
        return keys, values

    def get_seq_length(self) -> int:
        """Count the tokens before those of the coming pass: masks and positions are made of it."""
        return self.ahead[0].shape[2] + (0 if self.inner is None else self.inner.get_seq_length())


def _cache_name(model: LoadedModel) -> str | None:
    """Name the argument by which a backbone takes keys and values; None: it takes none."""
    accepted = inspect.signature(model.backbone.forward).parameters
    return next((name for name in CACHE if name in accepted), None)
