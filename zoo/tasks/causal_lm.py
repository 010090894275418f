"""CausalLM: predict the next token. GPT-2, Llama, Mistral, Phi, Gemma, Qwen, SmolLM …, pretrained or from scratch.

B samples · T tokens of a sequence · V vocabulary
"""

import math
import reprlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo import devices, streams
from zoo.constraints import ClosedUnitInterval, PositiveInt, checked
from zoo.errors import ConfigError, DataError
from zoo.loop.microbatch import Loss
from zoo.models import adapters, documents, head, own_class, own_network
from zoo.models import pretrained as hf
from zoo.models.adapters import Lora
from zoo.rules import AtMost, ExactlyOne, Needs
from zoo.samples import Batch, ChatSample, CompletionSample, Item, Processor, Split, TextSample, as_samples
from zoo.task import Task
from zoo.tokens.processors import PromptProcessor, TokenProcessor, continuations, padding, whole_words
from zoo.tokens.sampling import Sampling, changed
from zoo.tokens.windows import IGNORED, Packing

_SHOWN = 512
"""Tokens of a sample that are shown."""


@checked
class CausalLM(Task):
    """Train, test and sample a causal language model.

    A batch has `input_ids` ([B, T], padded on the right), `targets` ([B, T], the token after each, -100 where there is
    no loss) and `lengths` (tokens of each sequence). Where a sequence has several documents it also has `position_ids`
    ([B, T], from 0 in each document), and for attention that goes by documents `documents` (their bounds).

    Args:
        pretrained: hub id or folder of the model whose weights training starts from.
        architecture: trains from scratch, in place of pretrained. It is a hub id or folder whose architecture is
            taken, `model_type` with any settings of that type, or `class_path` and `init_args` of a network of your
            own, which makes logits of token ids.
        tokenizer: hub id or folder of the tokenizer. null takes that of pretrained.
        vocab_size: trains a byte-level BPE tokenizer of this many tokens on the training text, in place of tokenizer.
        max_length: tokens of a sequence (block size). A longer document is divided into several sequences.
        packing: true packs as many documents into a sequence as fit. There is no attention across documents, and
            positions start anew, so the loss equals that of separate documents. concat joins all documents to one
            text, with attention across them (faster on a GPU). false pads one document per sequence.
        chat_template: the template of conversations and of prompts with completions. auto takes that of the tokenizer,
            none uses no template, and plain writes "user: …", "assistant: …" with EOS after each turn (for models from
            scratch). A file with a Jinja template can be named too.
        stride: tokens from one test sequence to the next. null takes max_length. A smaller stride gives every token
            more context, and a lower perplexity.
        dropout: probability of every dropout layer in the network. 0 leaves those of a network of your own as they are.
        sampling: how text is generated.
        lora: trains adapters beside the frozen weights of pretrained, which are then kept in the 16 bits of
            trainer.precision. Far less memory is needed. null trains all weights.
    """

    unit = "tokens"
    sample_type = TextSample
    changeable_on_resume = ("model.sampling", "model.stride")
    rules = (
        ExactlyOne(("pretrained", "architecture"), "weights to start from, or a network to train from scratch"),
        ExactlyOne(("tokenizer", "vocab_size"), "that of a model, or one to train on the text", given="architecture"),
        AtMost(("stride", "max_length")),
        Needs(("lora", "pretrained"), "adapters are trained beside weights that are there"),
    )

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: str | dict[str, Any] | None = None,
        tokenizer: str | None = None,
        vocab_size: PositiveInt | None = None,
        max_length: Annotated[int, Ge(2)] = 512,
        packing: Packing = True,
        chat_template: str = "auto",
        stride: PositiveInt | None = None,
        dropout: ClosedUnitInterval = 0.0,
        sampling: Sampling = Sampling(),  # noqa: B008  # it is frozen
        lora: Lora | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pretrained, self.architecture = pretrained, architecture
        self.tokenizer_name, self.vocab_size = tokenizer or pretrained, vocab_size
        self.max_length, self.stride = max_length, stride or max_length
        self.packing, self.chat_template = packing, chat_template
        self.dropout, self.sampling, self.lora = dropout, sampling, lora
        self._apart = False
        """Whether the network has been seen to keep packed documents apart."""

    # The network ------------------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[Any]) -> None:
        if self.vocab_size:
            self.tokenizer = hf.train_tokenizer((_words(sample) for sample in samples), self.vocab_size)
            hf.set_chat_template(self.tokenizer, self.chat_template)
        self.data_state = {"tokenizer": hf.tokenizer_files(self.tokenizer), "config": self.config().to_dict()}
        self.data_state["dialogue"] = isinstance(samples[0], (ChatSample, CompletionSample))

    @cached_property
    def tokenizer(self) -> Any:
        if "tokenizer" in self.data_state:
            return hf.tokenizer_from_files(self.data_state["tokenizer"])
        if self.tokenizer_name is None:
            raise ConfigError("a model from scratch has no tokenizer before it is trained; name a run with --run.")
        tokenizer = hf.load_tokenizer(self.tokenizer_name)
        hf.set_chat_template(tokenizer, self.chat_template)
        return tokenizer

    def config(self) -> Any:
        """The architecture, with this task's dropout and this tokenizer's vocabulary."""
        if "config" in self.data_state:
            return self._saved_config()
        if own_class.is_named(self.architecture):
            return own_network.config(self.architecture, self.tokenizer, self.max_length)
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

    def _saved_config(self) -> Any:
        saved = self.data_state["config"]
        config: Any = own_network.OwnConfig(**saved) if own_class.is_named(saved) else hf.config_again(saved)
        for name, value in self.architecture.items() if isinstance(self.architecture, dict) else ():
            if (found := getattr(config, name)) != value:
                raise ConfigError(
                    f"model.architecture.{name} is {value}, the checkpoint's network has {found}. "
                    f"Its weights fit no other: start a new run for it."
                )
        if not own_class.is_named(saved):
            hf.set_dropout(config, self.dropout)
        return config

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        if self.pretrained and not self.restored:
            self.network = hf.load_causal_lm(self.pretrained, self.config(), self._dtype_of_weights())
        else:
            with streams.seeded(self.seed, "initial weights"):
                config = self.config()
                if isinstance(config, own_network.OwnConfig):
                    self.network = own_network.OwnNetwork(config, self.dropout)
                else:
                    self.network = hf.build_causal_lm(config)
        if self.gradient_checkpointing:
            self.network.activation_checkpointing_enable()  # non-reentrant
        if self.lora:
            self._add_adapters(self.lora)

    def _dtype_of_weights(self) -> torch.dtype:
        """Frozen ones have the 16 bits in which they are computed with."""
        precision = str(self.trainer.precision) if self.lora and self._trainer is not None else ""
        return {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(precision, torch.float32)

    def _add_adapters(self, lora: Lora) -> None:
        if not adapters.is_of(self.network, self.data_state.setdefault("base", adapters.fingerprint(self.network))):
            raise ConfigError(
                f"the weights of {self.pretrained} are not those that the adapters of this run were trained beside. "
                f"Set model.pretrained to the same revision or folder as before."
            )
        with streams.seeded(self.seed, "adapters"):
            adapters.attach(self.network, lora, adapters.ALL_LINEAR)
        print(f"lora: {adapters.share(self.network)}")

    def usual_optimizer(self) -> Callable[[Iterable], Optimizer]:
        """As configs/gpt2_finetune.yaml and configs/gpt2_scratch.yaml have it."""
        if self.pretrained:
            return partial(torch.optim.AdamW, lr=5e-5, weight_decay=0.01)
        return partial(torch.optim.AdamW, lr=6e-4, weight_decay=0.1, betas=(0.9, 0.95))

    # Batches ----------------------------------------------------------------------------------------------------

    def processor(self, split: Split) -> Processor:
        if split == "predict":
            return PromptProcessor(self.tokenizer, chat=self.data_state.get("dialogue", False))
        stride = self.stride if split == "test" else self.max_length
        return TokenProcessor(self.tokenizer, self.max_length, stride, self.packing)

    def example_batch(self, n: int) -> Batch:
        known = hf.known_tokens(self.network, self.tokenizer)
        ids = torch.randint(0, known, (n, self.max_length), generator=streams.generator("example batch"))
        batch = {"input_ids": ids, "targets": ids, "lengths": [self.max_length] * n}
        halves = torch.arange(self.max_length).remainder(self.max_length // 2 + 1).repeat(n, 1)
        return batch | ({"position_ids": halves} if self.packing is True else {})

    def prediction_example(self, n: int) -> Batch:
        """The longest prompts for which this window, or the architecture, leaves room; none ends before its time."""
        new = self.sampling.max_new_tokens
        positions = getattr(self.network.config, "max_position_embeddings", None) or self.max_length + new
        ids = torch.full((n, max(1, min(self.max_length, positions - new))), padding(self.tokenizer))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "prompt": [""] * n, "at_least": new}

    def prediction_settings(self) -> Any:
        return self.sampling

    def prepare(self, batch: Batch, draws: streams.Draws, split: Split) -> Batch:
        """Nothing is drawn. On a GPU a token without an embedding would end the process without a word."""
        hf.refuse_unknown_tokens(self.network, self.tokenizer, batch["input_ids"], split)
        return batch

    def trim(self, piece: Batch) -> Batch:
        if "lengths" in piece:
            longest = max(piece["lengths"])
            piece = {name: x[:, :longest] if isinstance(x, Tensor) else x for name, x in piece.items()}
        if "position_ids" in piece and self._attends_by_document(piece["position_ids"].shape[1]):
            piece = {
                **piece,
                "documents": documents.bounds(piece["position_ids"]),
            }  # here, where no device is waited for
        return piece

    def cheaper(self) -> list[str]:
        return [*super().cheaper(), f"a smaller model.max_length (now {self.max_length})"]

    def show_loss_mask(self, item: Item) -> str:
        """The beginning of a document or conversation as the network gets it, what it learns of it in ⟦ ⟧."""
        ids = item["input_ids"]
        loss_mask = [bool(flag) for flag in item.get("loss_mask", [0, *([1] * (len(ids) - 1))])]
        end = min(len(ids), _SHOWN)
        turns = [i for i in range(end) if i == 0 or loss_mask[i] != loss_mask[i - 1]]
        parts = [(loss_mask[a], self.tokenizer.decode(ids[a:b])) for a, b in pairwise([*turns, end])]
        text = "".join(f"⟦{part}⟧" if learns else part for learns, part in parts)
        more = f" … and {len(ids) - end:,} more" if len(ids) > end else ""
        return f"{len(ids)} tokens, loss on {sum(loss_mask)} tokens: {text}{more}"

    # What is computed -------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Loss:
        targets = batch["targets"]  # [B, T], each the token after
        wanted = targets.flatten()
        if not self._plain_head:
            total = head.cross_entropy(self.logits(batch).flatten(0, 1), wanted)
            return total, (targets != IGNORED).sum()
        rows = self.hidden(batch).flatten(0, 1)
        # Rows without a target need no logits: most of a conversation, the last one of every packed document. On a GPU
        # choosing them waits for the device, which the few of a text are not worth.
        if self.data_state.get("dialogue") or (devices.kind(wanted) == "cpu" and "position_ids" in batch):
            kept = (wanted != IGNORED).nonzero().flatten()
            rows, wanted = rows.index_select(0, kept), wanted.index_select(0, kept)
        output = self.network.get_output_embeddings()
        return head.summed_cross_entropy(rows, output.weight, output.bias, wanted), (targets != IGNORED).sum()

    def evaluate(self, batch: Batch) -> Loss:
        """The cross-entropy, whatever `loss` a subclass trains with: its exponential is the perplexity."""
        return CausalLM.loss(self, batch)

    def logits(self, batch: Batch) -> Tensor:
        """[B, T, V]. For a loss of your own; `loss` does without, as they are the largest tensor of all."""
        return self.network(**self._inputs(batch)).logits

    def hidden(self, batch: Batch) -> Tensor:
        """[B, T, D], what the last layer makes logits of."""
        return self.network.base_model(**self._inputs(batch))[0]

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        """With a cache, positions that begin anew would not keep documents apart."""
        positions, bounds = batch.get("position_ids"), batch.get("documents")
        if positions is not None and bounds is None and not self._apart:
            if not head.keeps_apart(self.network):
                kind = self.network.config.model_type
                raise ConfigError(
                    f"{kind} cannot mask attention across packed documents. Set model.packing to concat or false."
                )
            self._apart = True
        mask = {} if bounds is None else {"attention_mask": bounds}
        return {"input_ids": batch["input_ids"], "position_ids": positions, **mask, "use_cache": False}

    def _attends_by_document(self, length: int) -> bool:
        """Whether packed documents in sequences of this length are attended to one by one, and not through a mask."""
        half = self._trainer is not None and "16" in str(self.trainer.precision)
        return self._knows_documents and documents.pay_off(length, self.device, half)

    @cached_property
    def _knows_documents(self) -> bool:
        return not self.compile_network and documents.adopt(self.network)

    @cached_property
    def _plain_head(self) -> bool:
        return head.is_plain(self.network)

    def to_compile(self) -> nn.Module:
        return self.network.base_model if self._plain_head else self.network

    def compute_metrics(self, means: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
        perplexity = math.exp(means["loss"]) if means["loss"] < 700 else math.inf
        return {**means, "perplexity": perplexity, "tokens": counts["loss"]}

    def eval_settings(self, split: Split) -> dict[str, Any]:
        stride = self.stride if split == "test" else self.max_length
        across = "separate" if isinstance(self.packing, bool) else "concat"
        return {"perplexity": "per token", "max_length": self.max_length, "stride": stride, "documents": across}

    def predict(self, inputs: Any, seed: int = 0, **sampling: Any) -> list[dict[str, Any]]:
        """Continuations of prompts, in their order.

        Args:
            inputs: a list of texts, or a single one.
            seed: the same seed gives the same continuations.
            sampling: settings of `Sampling` for this call alone: max_new_tokens, temperature, top_k, top_p,
                num_sequences.

        Raises:
            ConfigError: no such setting, or a value that it cannot have.
            DataError: an input is no text.
        """
        samples = as_samples(inputs, TextSample)
        for sample in samples:
            if not isinstance(sample.text, str):
                raise DataError(f"predict() continues texts, and got {reprlib.repr(sample.text)}.")
        usual, self.sampling = self.sampling, changed(self.sampling, sampling)
        try:
            return super().predict(samples, seed)
        finally:
            self.sampling = usual

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        s = self.sampling
        chance: dict[str, Any] = {"do_sample": False}
        if s.temperature > 0:
            chance = {"do_sample": True, "temperature": s.temperature, "top_k": s.top_k, "top_p": s.top_p}
        room = min(s.max_new_tokens, self._room(batch["input_ids"].shape[1]))
        ids = self.network.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=room,
            min_new_tokens=min(room, batch.get("at_least", 0)),
            num_return_sequences=s.num_sequences,
            pad_token_id=padding(self.tokenizer),
            **chance,
        )  # [B * num_sequences, T + max_new_tokens]
        n, length = s.num_sequences, batch["input_ids"].shape[1]
        new = continuations(self.tokenizer, ids[:, :length], ids[:, length:])
        return [{"prompt": p, "continuations": new[i * n : (i + 1) * n]} for i, p in enumerate(batch["prompt"])]

    def _room(self, length: int) -> int:
        """New tokens for which the architecture has positions, after a prompt of `length` tokens."""
        positions = (
            getattr(self.network.config, "max_position_embeddings", None) or length + self.sampling.max_new_tokens
        )
        if length >= positions:
            raise DataError(f"data.predict: a prompt has {length} tokens; this model has {positions} positions in all.")
        return positions - length

    def format_prediction(self, prediction: dict[str, Any]) -> str:
        return "\n".join(f"{prediction['prompt']}⟶{text}" for text in prediction["continuations"])

    def preview(self) -> list[str]:
        """Two beginnings of validation windows, continued; conversations from where the assistant begins."""
        windows = self.trainer.datamodule.items["validation"]
        begun = [windows[i] for i in range(min(2, len(windows)))]
        if self.data_state.get("dialogue"):
            ids = [window["input_ids"][: int((window["targets"] != IGNORED).argmax()) + 1].tolist() for window in begun]
        else:
            ids = [whole_words(self.tokenizer, window["input_ids"].tolist(), 12) for window in begun]
        items = [{"prompt": self.tokenizer.decode(tokens), "input_ids": tokens} for tokens in ids]
        batch = self.processor("predict").collate(items) if items else {}
        return [self.format_prediction(prediction) for prediction in self.predict_from(batch)] if items else []

    def save_model(self, folder: Path) -> None:
        if self.lora:
            adapters.save(self.network, folder, hf.as_named(str(self.pretrained)))
        else:
            self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _words(sample: Any) -> str:
    """The text of a sample, for a new tokenizer."""
    if isinstance(sample, ChatSample):
        return "\n".join(str(message.get("content")) for message in sample.messages)
    return sample.prompt + sample.completion if isinstance(sample, CompletionSample) else sample.text
