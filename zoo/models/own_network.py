"""A language model of the user's own, with the face of one of transformers, as far as a task looks at it.

B samples · T tokens · D features · V vocabulary · N sequences that are generated
"""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from zoo.errors import ConfigError
from zoo.models import own_class
from zoo.models.head import calm

_TRIED = 8
"""Tokens of the sequence on which causality is tried."""


@dataclass
class OwnConfig:
    """What makes the network.

    Args:
        vocab_size: tokens of the tokenizer; given to the constructor if it takes an argument of this name.
        max_length: tokens that the network sees at a time.
    """

    class_path: str
    init_args: dict[str, Any]
    vocab_size: int
    max_length: int
    eos_token_id: int | None = None
    max_position_embeddings: None = field(default=None, init=False)  # what is longer is read by its last max_length

    @property
    def model_type(self) -> str:
        return self.class_path

    def to_dict(self) -> dict[str, Any]:
        kept = asdict(self)
        kept.pop("max_position_embeddings")
        return kept


def config(architecture: Mapping[str, Any], tokenizer: Any, max_length: int) -> OwnConfig:
    """Of a class path with its arguments.

    Raises:
        ConfigError: there is something else beside them.
    """
    path, arguments = own_class.parts(architecture)
    return OwnConfig(path, arguments, len(tokenizer), max_length, tokenizer.eos_token_id)


class _Output(NamedTuple):
    logits: Tensor


class OwnNetwork(nn.Module):
    """A module that makes logits [B, T, V] of token ids [B, T], each position seeing none that come later.

    If it has a method `hidden` (ids to [B, T, D]) and a linear layer `head`, the logits are made of these a few rows at
    a time, which needs far less memory. If its `forward` takes `position_ids`, it gets them for packed documents.

    Raises:
        ConfigError: it cannot be made, its logits have another shape, or a later token changes an earlier logit.
    """

    def __init__(self, config: OwnConfig, dropout: float = 0.0):
        super().__init__()
        self.config = config
        found_out = {"vocab_size": config.vocab_size}
        self.inner, self.arguments = own_class.make(config.class_path, config.init_args, found_out)
        own_class.set_dropout(self.inner, config.class_path, dropout)
        has_head = isinstance(getattr(self.inner, "head", None), nn.Linear)
        exposes = has_head and callable(getattr(self.inner, "hidden", None))
        self._body: list[nn.Module] = [_Body(self.inner)] if exposes else []  # in a list: its weights are not its own
        self._try()

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None, use_cache: bool = False) -> _Output:
        return _Output(self.inner(input_ids, **_positions(self.inner.forward, position_ids)))

    @property
    def base_model(self) -> nn.Module:
        return self._body[0] if self._body else self

    def get_output_embeddings(self) -> nn.Module | None:
        return self.inner.head if self._body else None  # type: ignore[return-value]

    def get_input_embeddings(self) -> Any:
        return SimpleNamespace(num_embeddings=self.config.vocab_size)

    def activation_checkpointing_enable(self) -> None:
        own_class.checkpoint_activations(self.inner, self.config.class_path)

    # Before the first step --------------------------------------------------------------------------------------

    def _try(self) -> None:
        path, vocabulary, length = self.config.class_path, self.config.vocab_size, self.config.max_length
        with calm(self), own_class.without_zeros(self.inner):
            some = min(_TRIED, length)
            ids = (torch.arange(2 * some).view(2, some) * 7919 + 1) % vocabulary
            ids[0, 0] = vocabulary - 1
            what = f"tokens up to {vocabulary - 1:,} ({vocabulary:,} are in the tokenizer)"
            logits = own_class.tried(path, what, lambda: self.inner(ids))
            wanted = [2, some, vocabulary]
            if not isinstance(logits, Tensor) or [*logits.shape] != wanted:
                raise ConfigError(
                    f"model.architecture: {path} makes a {own_class.described(logits)} of token ids of shape "
                    f"{[2, some]}. Expected logits, a tensor of shape {wanted}: one row of {vocabulary:,} (the "
                    f"vocabulary) for every token."
                )
            other = ids.clone()
            other[:, -1] = (other[:, -1] + 1) % vocabulary
            change = (self.inner(other) - logits).abs()  # [2, T, V]
            if change[:, :-1].max() > 1e-3 * change[:, -1].max() + 1e-6:
                raise ConfigError(
                    f"model.architecture: {path} is not causal: changing the last token changes the logits of earlier "
                    f"ones, so that it would be trained to copy what it is to predict. Mask its attention."
                )
            long = torch.zeros(1, length, dtype=torch.long)
            own_class.tried(path, f"{length:,} tokens (model.max_length)", lambda: self.inner(long))

    # Generation -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        max_new_tokens: int,
        pad_token_id: int,
        min_new_tokens: int = 0,
        num_return_sequences: int = 1,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:
        """As transformers' method of this name: [N, T + new] tokens, N = B * num_return_sequences, without a cache.

        The network sees prompts padded on the right, where causal attention never looks, and each is read at its own
        last token; of what is longer than max_length, the end.
        """
        prompts = input_ids.repeat_interleave(num_return_sequences, 0)
        kept = attention_mask.repeat_interleave(num_return_sequences, 0).bool()
        rows = [ids[mask] for ids, mask in zip(prompts, kept, strict=True)]
        warpers, ended = _warpers(temperature, top_k, top_p), torch.zeros(len(rows), dtype=torch.bool)
        ended, end = ended.to(input_ids.device), self.config.eos_token_id
        new: list[Tensor] = []
        for step in range(max_new_tokens):
            seen = [row[-self.config.max_length :] for row in rows]
            batch = pad_sequence(seen, batch_first=True, padding_value=pad_token_id)
            last = torch.tensor([len(row) - 1 for row in seen], device=batch.device)
            scores = self(batch).logits[torch.arange(len(rows), device=batch.device), last].float()  # [N, V]
            if end is not None and step < min_new_tokens:
                scores[:, end] = -torch.inf
            if do_sample:
                scores = warpers(batch, scores).softmax(-1)  # type: ignore[arg-type]  # it says LongTensor
            chosen = torch.multinomial(scores, 1)[:, 0] if do_sample else scores.argmax(-1)
            chosen = torch.where(ended, pad_token_id, chosen)
            new.append(chosen)
            rows = [torch.cat([row, token[None]]) for row, token in zip(rows, chosen, strict=True)]
            if end is not None:
                ended |= chosen == end
                if ended.all():
                    break
        return torch.cat([prompts, torch.stack(new, 1)], 1)

    def save_pretrained(self, folder: Path) -> None:
        """Weights, arguments, and a card; the tokenizer is written beside them."""
        inputs = (
            "It makes logits [B, T, V] of token ids [B, T]. The tokenizer is in this folder too:\n\n```python\nfrom "
            'transformers import AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(".")\nids = '
            'tokenizer("Once", return_tensors="pt")["input_ids"]\nprint(network(ids)[0, -1].topk(5))\n```'
        )
        own_class.save(self.inner, self.config.class_path, self.arguments, folder, inputs)


class _Body(nn.Module):
    """What comes before the head."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None, use_cache: bool = False) -> tuple[Tensor]:
        hidden: Any = self.inner.hidden
        return (hidden(input_ids, **_positions(hidden, position_ids)),)


def _positions(call: Any, position_ids: Tensor | None) -> dict[str, Tensor]:
    takes = position_ids is not None and "position_ids" in inspect.signature(call).parameters
    return {"position_ids": position_ids} if takes and position_ids is not None else {}


def _warpers(temperature: float, top_k: int, top_p: float) -> LogitsProcessorList:
    found = LogitsProcessorList()
    if temperature != 1:
        found.append(TemperatureLogitsWarper(temperature))
    if top_k:
        found.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        found.append(TopPLogitsWarper(top_p))
    return found
