"""CausalLM: predict the next token. GPT-2, Llama, Mistral, Phi, Gemma, Qwen, SmolLM …, pretrained or from scratch.

B samples · T tokens of a window · V vocabulary
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.nn import functional as F

from zoo import streams
from zoo.errors import ConfigError, DataError
from zoo.microbatch import Loss
from zoo.models import pretrained as hf
from zoo.samples import Batch, Encoder, Item, Split, TextSample
from zoo.task import Task

IGNORED = -100


@dataclass(frozen=True)
class Sampling:
    """How text is generated.

    Args:
        max_new_tokens: length of a continuation; it ends earlier where the model ends the document.
        temperature: of the distribution; 0 takes the most likely token each time.
        top_k: draw among this many most likely tokens; 0 for all.
        top_p: draw among the most likely tokens that together have this probability.
        num_sequences: continuations of each prompt.
    """

    max_new_tokens: int = 64
    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 1.0
    num_sequences: int = 1


class CausalLM(Task):
    """Train, test and sample a causal language model.

    Args:
        pretrained: hub id or folder whose weights training starts from.
        architecture: instead of pretrained: train from scratch. A hub id or folder whose architecture is taken, or
            `model_type` with any settings of that type.
        tokenizer: hub id or folder; null for that of pretrained.
        vocab_size: instead of tokenizer: train a byte-level BPE of this many tokens on the training text.
        max_length: tokens of a window.
        stride: test only: tokens from one window to the next; null for max_length. A smaller one gives every token more
            context, and a lower perplexity.
        dropout: for every dropout in the network.
        sampling: how text is generated.
    """

    unit = "tokens"
    sample_type = TextSample
    free_on_resume = ("model.sampling", "model.stride")

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: str | dict[str, Any] | None = None,
        tokenizer: str | None = None,
        vocab_size: int | None = None,
        max_length: int = 512,
        stride: int | None = None,
        dropout: float = 0.0,
        sampling: Sampling = Sampling(),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if (pretrained is None) == (architecture is None):
            raise ConfigError("set one of model.pretrained (start from its weights) and model.architecture (scratch).")
        if architecture is not None and (tokenizer is None) == (vocab_size is None):
            raise ConfigError("a model from scratch needs one of model.tokenizer and model.vocab_size.")
        if max_length < 2 or not 1 <= (stride or max_length) <= max_length:
            raise ConfigError(f"model.max_length {max_length}, model.stride {stride}: 2 or more, and 1 .. max_length.")
        self.pretrained, self.architecture = pretrained, architecture
        self.tokenizer_name, self.vocab_size = tokenizer or pretrained, vocab_size
        self.max_length, self.stride = max_length, stride or max_length
        self.dropout, self.sampling = dropout, sampling

    # The network ------------------------------------------------------------------------------------------------

    def adapt(self, samples: Sequence[TextSample]) -> None:
        if self.vocab_size:
            self.tokenizer = hf.train_tokenizer((sample.text for sample in samples), self.vocab_size)
        self.learned = {"tokenizer": hf.tokenizer_files(self.tokenizer), "config": self.config().to_dict()}

    @cached_property
    def tokenizer(self) -> Any:
        if "tokenizer" in self.learned:
            return hf.tokenizer_from_files(self.learned["tokenizer"])
        if self.tokenizer_name is None:
            raise ConfigError("a model from scratch has no tokenizer before it is trained; name a run with --run.")
        return hf.load_tokenizer(self.tokenizer_name)

    def config(self) -> Any:
        """The architecture, with this task's dropout and this tokenizer's vocabulary."""
        if "config" in self.learned:
            return self._learned_config()
        if self.pretrained:
            config = hf.load_config(self.pretrained)
        else:
            source = self.architecture
            config = hf.load_config(source) if isinstance(source, str) else hf.make_config(dict(source or {}))
            config.vocab_size = len(self.tokenizer)
            config.bos_token_id, config.eos_token_id = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        longest = getattr(config, "max_position_embeddings", None)
        if longest and self.max_length > longest:
            raise ConfigError(f"model.max_length is {self.max_length}; this architecture has {longest} positions.")
        hf.set_dropout(config, self.dropout)
        return config

    def _learned_config(self) -> Any:
        config = hf.make_config(self.learned["config"])
        for name, value in self.architecture.items() if isinstance(self.architecture, dict) else ():
            if (found := getattr(config, name)) != value:
                raise ConfigError(
                    f"model.architecture.{name} is {value}, the checkpoint's network has {found}. "
                    f"Its weights fit no other: start a new run for it."
                )
        hf.set_dropout(config, self.dropout)
        return config

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        if self.pretrained and not self.restored:
            self.network = hf.load_causal_lm(self.pretrained, self.config())
        else:
            with streams.seeded(self.seed, "initial weights"):
                self.network = hf.build_causal_lm(self.config())
        if self.gradient_checkpointing:
            self.network.activation_checkpointing_enable()  # non-reentrant

    # Batches ----------------------------------------------------------------------------------------------------

    def encoder(self, split: Split) -> Encoder:
        if split == "predict":
            return PromptEncoder(self.tokenizer)
        return WindowEncoder(self.tokenizer, self.max_length, self.stride if split == "test" else self.max_length)

    def example_batch(self, n: int) -> Batch:
        generator = streams.generator("example batch")
        ids = torch.randint(0, len(self.tokenizer), (n, self.max_length), generator=generator)
        return {"input_ids": ids, "targets": ids}

    # What is computed -------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Loss:
        logits = self.network(batch["input_ids"], use_cache=False).logits  # [B, T, V]
        targets = batch["targets"]  # [B, T], each the token after
        total = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        return total, (targets != IGNORED).sum()

    def figures(self, means: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
        perplexity = math.exp(means["loss"]) if means["loss"] < 700 else math.inf
        return {**means, "perplexity": perplexity, "tokens": counts["loss"]}

    def protocol(self, split: Split) -> dict[str, Any]:
        stride = self.stride if split == "test" else self.max_length
        return {"perplexity": "per token", "window": self.max_length, "stride": stride}

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        s = self.sampling
        chance: dict[str, Any] = {"do_sample": False}
        if s.temperature > 0:
            chance = {"do_sample": True, "temperature": s.temperature, "top_k": s.top_k, "top_p": s.top_p}
        ids = self.network.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=min(s.max_new_tokens, self._room(batch["input_ids"].shape[1])),
            num_return_sequences=s.num_sequences,
            pad_token_id=_padding(self.tokenizer),
            **chance,
        )  # [B * num_sequences, T + max_new_tokens]
        new = self.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        n = s.num_sequences
        return [{"prompt": p, "continuations": new[i * n : (i + 1) * n]} for i, p in enumerate(batch["prompt"])]

    def _room(self, length: int) -> int:
        """New tokens for which the architecture has positions, after a prompt of `length` tokens."""
        positions = (
            getattr(self.network.config, "max_position_embeddings", None) or length + self.sampling.max_new_tokens
        )
        if length >= positions:
            raise DataError(f"data.predict: a prompt has {length} tokens; this model has {positions} positions in all.")
        return positions - length

    def show(self, prediction: dict[str, Any]) -> str:
        return "\n".join(f"{prediction['prompt']}⟶{text}" for text in prediction["continuations"])

    def preview(self) -> list[str]:
        windows = self.trainer.datamodule.items["validation"]
        prompts = [self.tokenizer.decode(windows[i]["input_ids"][:12]) for i in range(min(2, len(windows)))]
        return [self.show(prediction) for prediction in self.predict(prompts)] if prompts else []

    def save_model(self, folder: Path) -> None:
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class WindowEncoder(Encoder):
    """Documents to tokens, each ended by EOS and joined to one stream; the stream cut into windows.

    Args:
        length: tokens of a window.
        stride: tokens from one window to the next. A token is scored in the first window that has it, the first token
            of a window never (it has no context there): with stride = length that is one token in `length`.
    """

    cached = True

    def __init__(self, tokenizer: Any, length: int, stride: int):
        self.tokenizer, self.length, self.stride = tokenizer, length, stride

    def fingerprint(self) -> str:
        return f"tokens 1, EOS {self.tokenizer.eos_token_id}, {self.tokenizer.backend_tokenizer.to_str()}"

    def encode(self, samples: Sequence[TextSample]) -> list[Item]:
        encoded = self.tokenizer([sample.text for sample in samples], verbose=False)["input_ids"]
        return [{"input_ids": np.asarray(self._ended(ids), dtype=np.int32)} for ids in encoded]

    def _ended(self, ids: list[int]) -> list[int]:
        end = self.tokenizer.eos_token_id
        return ids if end is None or (ids and ids[-1] == end) else [*ids, end]

    def arrange(self, items: Sequence[Item]) -> Sequence[Item]:
        return Windows(items, self.length, self.stride)

    def collate(self, items: Sequence[Item]) -> Batch:
        longest = max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), longest), _padding(self.tokenizer))  # [B, T]
        targets = torch.full_like(ids, IGNORED)
        for row, item in enumerate(items):
            tokens = torch.as_tensor(np.asarray(item["input_ids"], dtype=np.int64))
            ids[row, : len(tokens)] = tokens
            first = item["first_scored"]
            targets[row, first - 1 : len(tokens) - 1] = tokens[first:]
        # Padding stands to the right of causal attention, which never looks there: no mask, and the fast kernel.
        return {"input_ids": ids, "targets": targets}


class Windows(Sequence):
    """Windows over a memory-mapped stream of tokens; nothing of it is in memory but what is asked for."""

    def __init__(self, documents: Any, length: int, stride: int):
        self.documents: datasets.Dataset = documents
        self.length, self.stride = length, stride
        self.total = int(self._bounds[-1])
        self._first = max(1, length - stride)

    @cached_property
    def _chunks(self) -> list[np.ndarray]:
        return [chunk.flatten().to_numpy() for chunk in self.documents.data.column("input_ids").chunks]

    @cached_property
    def _bounds(self) -> np.ndarray:
        return np.cumsum([0, *(len(chunk) for chunk in self._chunks)])

    def __getstate__(self) -> dict[str, Any]:  # workers map the file themselves
        return {k: v for k, v in vars(self).items() if k not in ("_chunks", "_bounds")}

    def __len__(self) -> int:
        """Windows that score at least one token."""
        return max(1, math.ceil((self.total - self._first) / self.stride)) if self.total > 1 else 0

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.stride
        first = 1 if index == 0 else self._first
        return {"input_ids": self.tokens(start, min(start + self.length, self.total)), "first_scored": first}

    def tokens(self, start: int, stop: int) -> np.ndarray:
        """[stop - start] int32 of the stream."""
        low, high = np.searchsorted(self._bounds, [start, stop - 1], side="right") - 1
        parts = [
            self._chunks[i][max(start - self._bounds[i], 0) : stop - self._bounds[i]] for i in range(low, high + 1)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class PromptEncoder(Encoder):
    """Prompts to token ids, padded on the left so that every one ends where its continuation begins."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def encode(self, samples: Sequence[TextSample]) -> list[Item]:
        items = []
        for sample in samples:
            ids = self.tokenizer(sample.text, verbose=False)["input_ids"]
            end = self.tokenizer.eos_token_id
            items.append({"prompt": sample.text, "input_ids": ids or [self.tokenizer.bos_token_id or end]})
        return items

    def collate(self, items: Sequence[Item]) -> Batch:
        longest = max(len(item["input_ids"]) for item in items)
        pad = _padding(self.tokenizer)
        gaps = [longest - len(item["input_ids"]) for item in items]
        return {
            "input_ids": torch.tensor([[pad] * g + item["input_ids"] for g, item in zip(gaps, items, strict=True)]),
            "attention_mask": torch.tensor([[0] * g + [1] * (longest - g) for g in gaps]),
            "prompt": [item["prompt"] for item in items],
        }


def _padding(tokenizer: Any) -> int:
    """What stands where nothing is; masked by length, so that any id will do."""
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
