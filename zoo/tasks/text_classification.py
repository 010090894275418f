"""TextClassification: which class a text is of. BERT, DeBERTa, ModernBERT, XLM-R, GPT-2, Qwen …, or from scratch.

B samples · T tokens of a text · C classes
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from zoo import streams
from zoo.classification import labels, measures, report
from zoo.classification.mistakes import Mistakes
from zoo.constraints import ClosedUnitInterval, PositiveInt, PositiveShare, checked
from zoo.errors import ConfigError
from zoo.loop import optim
from zoo.loop.microbatch import Loss
from zoo.models import layers, text_classifiers
from zoo.models import pretrained as hf
from zoo.rules import ExactlyOne
from zoo.samples import INDEX, Batch, Item, Processor, Split, TextSample
from zoo.task import Task
from zoo.tokens.labelled import LabelledTextProcessor

_TOP, _SHOWN = 5, 512


@checked
class TextClassification(Task):
    """Train, test and use a classifier of texts.

    A batch has `input_ids` and `attention_mask` ([B, T], padded on the right), `targets` ([B], the number of the
    class) and `lengths` (tokens of each text).

    Args:
        pretrained: hub id or folder of a model, BERT-like or causal, whose weights training starts from.
        architecture: instead of pretrained: train from scratch. A hub id or folder whose architecture is taken, or
            `model_type` with any settings of that type.
        tokenizer: hub id or folder of the tokenizer. null takes that of pretrained.
        vocab_size: instead of tokenizer: train a byte-level BPE of this many tokens on the training text.
        max_length: tokens of a text. Longer texts are cut, and counted on the screen.
        freeze: backbone trains the head only. The rest keeps its weights.
        layer_decay: the learning rate of each layer is that of the next one times this. 1 means the same everywhere.
        dropout: for every dropout in the network.
        label_smoothing: share of the target that is spread over all classes, in training only.
    """

    unit = "texts"
    sample_type = TextSample
    rules = (
        ExactlyOne(("pretrained", "architecture"), "weights to start from, or a network to train from scratch"),
        ExactlyOne(("tokenizer", "vocab_size"), "that of a model, or one to train on the text", given="architecture"),
    )

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: str | dict[str, Any] | None = None,
        tokenizer: str | None = None,
        vocab_size: PositiveInt | None = None,
        max_length: Annotated[int, Ge(3)] = 512,
        freeze: Literal["none", "backbone"] = "none",
        layer_decay: PositiveShare = 1.0,
        dropout: ClosedUnitInterval = 0.0,
        label_smoothing: ClosedUnitInterval = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pretrained, self.architecture = pretrained, architecture
        self.tokenizer_name, self.vocab_size = tokenizer or pretrained, vocab_size
        self.max_length, self.freeze_part, self.layer_decay = max_length, freeze, layer_decay
        self.dropout, self.label_smoothing = dropout, label_smoothing
        self._depths: dict[str, int] = {}
        self._mistakes: Mistakes | None = None
        self._confusion: Tensor | None = None

    # The network ------------------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[TextSample]) -> None:
        remedy = "Classification needs a table whose column with the class is named by data.label_column."
        names = labels.of_samples(samples, "texts", remedy)
        if self.vocab_size:
            self.tokenizer = text_classifiers.train_tokenizer((sample.text for sample in samples), self.vocab_size)
        self._learn(names)

    def _learn(self, names: list[str]) -> None:
        config = self._config()
        known = text_classifiers.label_names(config) if self.pretrained else None
        if set(known or ()) == set(names):
            names = known or names  # its head is kept as it is
        text_classifiers.set_classes(config, names)
        self.data_state = {"tokenizer": hf.tokenizer_files(self.tokenizer), "config": config.to_dict()}

    def _known(self) -> dict[str, Any]:
        """What was learned of the training data; of pretrained weights without any, what they know themselves."""
        if not self.data_state:
            names = text_classifiers.label_names(self._config()) if self.pretrained else None
            if not names:
                raise ConfigError("this model has no classes before it is trained; name a run with --run.")
            self._learn(names)
        return self.data_state

    @property
    def label_names(self) -> list[str]:
        """C names, in the order of the outputs."""
        names = self._known()["config"]["id2label"]
        return [names[i] for i in sorted(names, key=int)]

    @cached_property
    def tokenizer(self) -> Any:
        if "tokenizer" in self.data_state:
            return hf.tokenizer_from_files(self.data_state["tokenizer"])
        if self.tokenizer_name is None:
            raise ConfigError("a model from scratch has no tokenizer before it is trained; name a run with --run.")
        tokenizer = hf.load_tokenizer(self.tokenizer_name)
        text_classifiers.set_padding(tokenizer)
        return tokenizer

    def _config(self) -> Any:
        """The architecture of the settings, with this tokenizer's vocabulary and padding."""
        if self.pretrained:
            config = hf.load_config(self.pretrained)
        else:
            source = self.architecture
            config = hf.load_config(source) if isinstance(source, str) else hf.make_config(dict(source or {}))
            text_classifiers.set_vocabulary(config, self.tokenizer)
        text_classifiers.set_padding_token(config, self.tokenizer)
        text_classifiers.without_cache(config)
        return config

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        config = hf.config_again(self._known()["config"])
        hf.set_dropout(config, self.dropout)
        with streams.seeded(self.seed, "initial weights"):
            if self.pretrained and not self.restored:
                self.network = text_classifiers.load(self.pretrained, config)
            else:
                self.network = text_classifiers.build(config)
        self._prepare()

    def _prepare(self) -> None:
        """What does not depend on where the network came from."""
        room = text_classifiers.positions(self.network)
        if room and self.max_length > room:
            raise ConfigError(f"model.max_length is {self.max_length}; this architecture has {room} positions.")
        text_classifiers.check_padding(self.network, self.tokenizer)
        if self.freeze_part == "backbone":
            head = text_classifiers.head(self.network)
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(name in head)
        if self.gradient_checkpointing:
            self.network.activation_checkpointing_enable()  # non-reentrant
        self._depths = layers.depths(self.network) if self.layer_decay < 1 else {}

    def parameter_settings(self, name: str, parameter: Any) -> dict[str, Any]:
        settings = optim.spare_vectors(name, parameter)
        if self._depths:
            above = max(self._depths.values()) - self._depths[name.removeprefix("network.")]
            settings = {**settings, "lr_scale": self.layer_decay**above}
        return settings

    # Batches ----------------------------------------------------------------------------------------------------

    def check_samples(self, samples: Sequence[TextSample], split: Split) -> None:
        labels.check(samples, self.label_names, split, "text")

    def processor(self, split: Split) -> Processor:
        return LabelledTextProcessor(self.tokenizer, self.label_names, self.max_length, split)

    def example_batch(self, n: int) -> Batch:
        known = hf.known_tokens(self.network, self.tokenizer)
        shape = (n, self.max_length)
        ids = torch.randint(0, known, shape, generator=streams.generator("example batch"))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "lengths": [self.max_length] * n,
            "targets": torch.arange(n) % len(self.label_names),
        }

    def prepare(self, batch: Batch, draws: streams.Draws, split: Split) -> Batch:
        """Nothing is drawn. On a GPU a token without an embedding would end the process without a word."""
        hf.refuse_unknown_tokens(self.network, self.tokenizer, batch["input_ids"], split)
        return batch

    def trim(self, piece: Batch) -> Batch:
        longest = max(piece["lengths"])
        return piece | {name: piece[name][:, :longest] for name in ("input_ids", "attention_mask")}

    def cheaper(self) -> list[str]:
        return [*super().cheaper(), f"a smaller model.max_length (now {self.max_length})"]

    def show_loss_mask(self, item: Item) -> str:
        """A text as the network gets it, with the class that it is to learn."""
        ids = item["input_ids"]
        more = f" … and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
        text = self.tokenizer.decode(ids[:_SHOWN])
        return f"{len(ids)} tokens, class {self.label_names[item['label']]}: {text}{more}"

    # What is computed -------------------------------------------------------------------------------------------

    def logits(self, batch: Batch) -> Tensor:
        """[B, C] f32."""
        return self.network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()

    def loss(self, batch: Batch) -> Loss:
        smoothing = self.label_smoothing if self.training else 0.0
        loss = F.cross_entropy(self.logits(batch), batch["targets"], reduction="sum", label_smoothing=smoothing)
        return loss, len(batch["targets"])

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._mistakes = Mistakes(self.label_names)

    def evaluate(self, batch: Batch) -> Loss:
        logits, targets = self.logits(batch), batch["targets"]
        if self._mistakes and self.trainer.testing:
            self._mistakes.add(logits, targets, {"index": batch[INDEX], "text": batch["text"]})
        sums = {"loss": F.cross_entropy(logits, targets, reduction="sum"), **measures.sums(logits, targets, _TOP)}
        return {name: (total, len(targets)) for name, total in sums.items()}

    def compute_metrics(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        self._confusion = (means["confusion"] * counts["loss"]).round()
        return {**measures.summary(means, self._confusion, _TOP), "texts": counts["loss"]}

    def eval_settings(self, split: Split) -> dict[str, Any]:
        return {"max length": self.max_length, "classes": len(self.label_names)}

    def conclusion(self, metrics: dict[str, float]) -> str:
        return measures.conclusion(metrics)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        if self._mistakes:
            self._mistakes.gather()

    def write_test_report(self, folder: Path) -> list[Path]:
        """Confusion matrix (plot and table), metrics of each class, and the most confident mistakes as a table."""
        if self._confusion is None:
            return []
        written = report.write(self._confusion, self.label_names, self.unit, folder)
        if self._mistakes and self._mistakes.worst:
            written.append(report.mistake_table(self._mistakes.worst, folder / "mistakes.csv"))
        return written

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        best = measures.likeliest(self.logits(batch), self.label_names, _TOP)
        return [{"text": text, **top[0], "top": top} for text, top in zip(batch["text"], best, strict=True)]

    def format_prediction(self, prediction: dict[str, Any]) -> str:
        best = ", ".join(f"{one['label']} {one['probability']:.1%}" for one in prediction["top"])
        return f"{prediction['text']}: {best}"

    def save_model(self, folder: Path) -> None:
        self.network.save_pretrained(folder)
        self.tokenizer.model_max_length = self.max_length  # others cut texts as they were cut here
        self.tokenizer.save_pretrained(folder)
