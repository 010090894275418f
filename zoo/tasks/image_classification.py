"""ImageClassification: which class an image shows. ViT, ResNet and every other classifier of timm and transformers.

B samples · S side of an image · C classes
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from zoo import streams
from zoo.classification import labels, measures, report
from zoo.classification.mistakes import Mistakes
from zoo.constraints import ClosedUnitInterval, PositiveInt, PositiveShare, ShareBelowOne, checked
from zoo.errors import ConfigError, typed
from zoo.files import plots
from zoo.images import reading
from zoo.images.augment import Augmentation, mix
from zoo.images.preprocessing import Normalise, Preprocessing
from zoo.images.processor import ImageProcessor
from zoo.loop import microbatch, optim
from zoo.loop.microbatch import Loss
from zoo.models import classifiers
from zoo.rules import ExactlyOne
from zoo.samples import INDEX, Batch, ImageSample, Processor, Split
from zoo.task import Task

_PLAIN = Augmentation()
_TOP = 5
_LOOKED_AT, _PREVIEWED = 64, 10
"""Validation images that a preview chooses from, and shows."""
_LOOKED_AT, _MUCH, _USUAL = 16, 8, 224
"""How many images have their size looked at, how many times larger is too much, and from which size on never."""


@checked
class ImageClassification(Task):
    """Train and test an image classifier, and predict with it.

    A batch has `image` ([B, 3, S, S] uint8) and `targets` ([B], the number of the class). A mixed one also has `other`
    ([B], the class that is mixed in) and `share` ([B], that of the first class).

    Args:
        pretrained: the model whose weights training starts from: a name of timm (resnet18,
            vit_base_patch16_224.augreg_in21k), a hub id, or a folder of timm or transformers.
        architecture: trains from scratch, in place of pretrained. It is a name or folder as above, or `{name: …}` with
            settings of that network of timm, or `{model_type: …}` with settings of that type of transformers, or
            `{class_path: …, init_args: …}` of a network of your own, which makes logits of images.
        weights: a file with the weights of `pretrained`, so that nothing is downloaded (timm).
        image_size: side of the square that the network sees, in pixels. null takes the one that it was made for.
            Position embeddings are interpolated to it.
        augmentation: random changes of the training images.
        freeze: backbone trains the head only. The rest keeps its weights and its batch statistics bit for bit.
        layer_decay: the learning rate of each layer is that of the next one times this. 1 means the same everywhere.
        dropout: probability of dropout before the head (timm), or of every dropout layer (transformers).
        drop_path: rate of stochastic depth at the last layer. It rises to this from 0 at the first one.
        norm: batch keeps BatchNorm as the network has it. frozen keeps its running statistics as they are. group
            replaces it by GroupNorm.
        norm_batch_size: samples over which BatchNorm takes its statistics. null takes the whole batch. This changes the
            result, as micro_batch_size never does, and replaces it in networks with BatchNorm.
        channels_last: uses the memory layout in which convolutions are fast on tensor cores.
    """

    unit = "images"
    sample_type = ImageSample
    rules = (ExactlyOne(("pretrained", "architecture"), "weights to start from, or a network to train from scratch"),)

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: str | dict[str, Any] | None = None,
        weights: str | None = None,
        image_size: PositiveInt | None = None,
        augmentation: Augmentation = _PLAIN,
        freeze: Literal["none", "backbone"] = "none",
        layer_decay: PositiveShare = 1.0,
        dropout: ClosedUnitInterval = 0.0,
        drop_path: ShareBelowOne = 0.0,
        norm: classifiers.Norm = "batch",
        norm_batch_size: Annotated[int, Ge(2)] | None = None,
        channels_last: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pretrained, self.architecture, self.weights = pretrained, architecture, weights
        self.image_size, self.augmentation = image_size, augmentation
        self.freeze_part, self.layer_decay = freeze, layer_decay
        self.dropout, self.drop_path = dropout, drop_path
        self.norm, self.norm_batch_size = norm, norm_batch_size
        self.channels_last = channels_last
        self._cut_by_norm = False
        self._depths: dict[str, int] = {}
        self._undecayed: set[str] = set()
        self._mistakes: Mistakes | None = None
        self._confusion: Tensor | None = None
        self._previewed_at: set[int] = set()

    # The network ------------------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[ImageSample]) -> None:
        remedy = "Classification needs a folder per class, or a table with a column called label (data.label_column)."
        self._learn(labels.of_samples(samples, "images", remedy))

    def _learn(self, label_names: list[str]) -> None:
        source = classifiers.find(self.pretrained or self.architecture or "")
        if (known := source.label_names() if self.pretrained else None) and set(known) == set(label_names):
            label_names = known  # its head is kept as it is
        wanted = source.preprocessing(self.image_size)
        if not self.pretrained:
            wanted = replace(wanted, crop=1.0)  # the share that others found best for their weights says nothing here
        self.data_state = {"label_names": label_names, "preprocessing": vars(wanted), "network": source.describe()}

    def _known(self) -> dict[str, Any]:
        """What is known from the training data; of pretrained weights without any, what they know themselves."""
        if not self.data_state:
            source = classifiers.find(self.pretrained or self.architecture or "")
            names = source.label_names() if self.pretrained else None
            if not names:
                raise ConfigError("this model has no classes before it is trained; name a run with --run.")
            self._learn(names)
        return self.data_state

    @property
    def label_names(self) -> list[str]:
        """C names, in the order of the outputs."""
        return self._known()["label_names"]

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(**self._known()["preprocessing"])

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        load = bool(self.pretrained) and (not self.restored or self.freeze_part == "backbone")  # no checkpoint has it
        known = self._known()
        named = classifiers.find(self.pretrained or "") if load else classifiers.restore(known["network"])
        with streams.seeded(self.seed, "initial weights"):
            self.network = named.build(
                len(self.label_names),
                self.preprocessing,
                load,
                self.weights if load else None,
                self.dropout,
                self.drop_path,
                self.norm,
            )
        self.source = named
        self._prepare()

    def _prepare(self) -> None:
        """What does not depend on where the network came from."""
        if self.freeze_part == "backbone":
            self.network.requires_grad_(False)
            self.source.head(self.network).requires_grad_(True)
        if self.gradient_checkpointing:
            self.source.checkpoint_activations(self.network)
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.normalise = Normalise(self.preprocessing)
        still = self.norm == "frozen" or self.freeze_part == "backbone"
        self._cut_by_norm = not still and classifiers.has_batch_statistics(self.network)
        self._depths = self.source.depths(self.network) if self.layer_decay < 1 else {}
        self._undecayed = self.source.undecayed(self.network)
        self.train(self.training)

    def train(self, mode: bool = True) -> "ImageClassification":
        """As ever, but frozen batch statistics stay as they are."""
        super().train(mode)
        if mode and hasattr(self, "network") and self.norm == "frozen":
            classifiers.freeze_statistics(self.network)
        return self

    def parameter_settings(self, name: str, parameter: Any) -> dict[str, Any]:
        inside = name.removeprefix("network.")
        settings = {"weight_decay": 0.0} if inside in self._undecayed else optim.spare_vectors(name, parameter)
        if self._depths:
            above = max(self._depths.values()) - self._depths.get(inside, max(self._depths.values()))
            settings = {**settings, "lr_scale": self.layer_decay**above}
        return settings

    def usual_optimizer(self) -> Callable[[Iterable], Optimizer]:
        """As configs/vit_finetune.yaml and configs/quickstart_vision.yaml have it."""
        return partial(torch.optim.AdamW, lr=3e-4 if self.pretrained else 3e-3, weight_decay=0.05)

    # Batches ----------------------------------------------------------------------------------------------------

    def micro_batches(self) -> tuple[int | None, microbatch.Divide]:
        return (self.norm_batch_size, microbatch.exact_sizes) if self._cut_by_norm else super().micro_batches()

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if not self._cut_by_norm:
            return
        data, asked = self.trainer.datamodule, self.micro_batch_size
        count, size = len(data.items["train"]), self.norm_batch_size or data.batch_size
        if isinstance(asked, int) and asked != size:
            print(
                f"model.micro_batch_size {asked} is not used: this network has batch statistics, which are taken over "
                f"{size} samples. For less memory: model.norm_batch_size {asked}, or model.norm frozen or group."
            )
        if count % data.batch_size == 1:
            raise ConfigError(
                f"data.batch_size is {data.batch_size}, so the last batch of {count:,} images has a single one, and "
                f"batch statistics need two. Use {data.batch_size + 1}."
            )

    def check_samples(self, samples: Sequence[ImageSample], split: Split) -> None:
        labels.check(samples, self.label_names, split, "image")
        if split == "train" and self.global_rank == 0:
            self._warn_of_tiny(samples)

    def _warn_of_tiny(self, samples: Sequence[ImageSample]) -> None:
        """A config that was made for small images shows a photograph as a few pixels. At 224 that is the custom."""
        seen, some = self.preprocessing.size, samples[:: math.ceil(len(samples) / _LOOKED_AT) or 1]
        sides = sorted(min(size) for sample in some if (size := reading.size(sample.image)))
        if seen < _USUAL and sides and (side := sides[len(sides) // 2]) >= _MUCH * seen:
            print(
                f"data: train: the images are {side} pixels high or wide, but the network sees {seen} × {seen}. "
                f"Set a larger model.image_size, or let {typed('zoo init FOLDER')} write a config for them."
            )

    def cheaper(self) -> list[str]:
        own = ["a smaller model.norm_batch_size"] if self._cut_by_norm else []
        return [*own, *super().cheaper(), f"a smaller model.image_size (now {self.preprocessing.size})"]

    def processor(self, split: Split) -> Processor:
        return ImageProcessor(self.label_names, self.preprocessing, self.augmentation if split == "train" else None)

    def example_batch(self, n: int) -> Batch:
        side = self.preprocessing.size
        generator = streams.generator("example batch")
        images = torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)
        return {"image": images, "targets": torch.arange(n) % len(self.label_names)}

    def prepare(self, batch: Batch, draws: streams.Draws, split: Split) -> Batch:
        if split != "train" or not self.augmentation.mixes:
            return batch
        images, partner, share = mix(batch["image"], self.augmentation, draws.whole())
        return {**batch, "image": images, "other": batch["targets"][partner], "share": share}

    # What is computed -------------------------------------------------------------------------------------------

    def logits(self, batch: Batch) -> Tensor:
        """[B, C] f32."""
        images = self.normalise(batch["image"])  # uint8 until here: a quarter of the traffic
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.source.logits(self.network, images).float()

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[B, D] f32, what the last layer sees of each image, and its logits."""
        seen: list[Tensor] = []
        hook = self.source.head(self.network).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            logits = self.logits(batch)
        finally:
            hook.remove()
        return (seen[0].flatten(2).mean(2) if seen[0].ndim > 2 else seen[0]).float(), logits

    def loss(self, batch: Batch) -> Loss:
        logits, targets = self.logits(batch), batch["targets"]
        smoothing = self.augmentation.label_smoothing if self.training else 0.0
        losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        if "share" in batch:
            others = F.cross_entropy(logits, batch["other"], reduction="none", label_smoothing=smoothing)
            losses = batch["share"] * losses + (1 - batch["share"]) * others
        return losses.sum(), len(targets)

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._mistakes = Mistakes(self.label_names)

    def evaluate(self, batch: Batch) -> Loss:
        logits, targets = self.logits(batch), batch["targets"]
        if self._mistakes and self.trainer.testing:
            self._mistakes.add(logits, targets, {"index": batch[INDEX], "image": batch["image"]})
        sums = {"loss": F.cross_entropy(logits, targets, reduction="sum"), **measures.sums(logits, targets, _TOP)}
        return {name: (total, len(targets)) for name, total in sums.items()}

    def compute_metrics(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        self._confusion = (means["confusion"] * counts["loss"]).round()
        return {**measures.summary(means, self._confusion, _TOP), "images": counts["loss"]}

    def eval_settings(self, split: Split) -> dict[str, Any]:
        return {"image size": self.preprocessing.size, "classes": len(self.label_names)}

    def conclusion(self, metrics: dict[str, float]) -> str:
        return measures.conclusion(metrics)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        if self._mistakes:
            self._mistakes.gather()

    def write_test_report(self, folder: Path) -> list[Path]:
        """Confusion matrix (plot and table), metrics of each class, and the most confident mistakes."""
        from zoo.images import drawing

        if self._confusion is None:
            return []
        written = report.write(self._confusion, self.label_names, self.unit, folder)
        if self._mistakes and (worst := self._mistakes.worst):
            titles = [f"{m['label']}\nas {m['predicted']} ({m['probability']:.0%})" for m in worst]
            written.append(drawing.mosaic([m["image"] for m in worst], titles, folder / "mistakes.png"))
        return written

    def preview_image(self) -> Any:
        """Validation images and what they are taken for: the most confident mistakes, then the least confident hits.

        After the 1st, 2nd, 4th, 8th … validation: a drawing takes longer than a step.
        """
        from zoo.images import drawing

        found = self.trainer.datamodule.items["validation"]
        self._previewed_at.add(self.global_step)
        count = len(self._previewed_at)
        if count & (count - 1) or not len(found):
            return None
        chosen = dict.fromkeys(round(i) for i in torch.linspace(0, len(found) - 1, _LOOKED_AT).tolist())
        items = [item for i in chosen if (item := found[i]) is not None]
        batch = self.processor("validation").collate(items)
        probability, predicted = self.logits(self.to_device(batch)).softmax(-1).max(-1)
        rows = zip(batch["targets"].tolist(), predicted.tolist(), probability.tolist(), batch["image"], strict=True)
        shown = sorted(rows, key=lambda row: (row[0] == row[1], row[2] if row[0] == row[1] else -row[2]))[:_PREVIEWED]
        names = self.label_names
        titles = [f"{names[t]}\n{f'as {names[p]} ' if p != t else ''}({sure:.0%})" for t, p, sure, _ in shown]
        return plots.image(drawing.drawn_mosaic([image for *_, image in shown], titles))

    def captions(self, batch: Batch) -> list[str]:
        names = [self.label_names[int(label)] for label in batch["targets"]]
        if "share" not in batch:
            return names
        return [
            f"{float(share):.0%} {name}\n{float(1 - share):.0%} {self.label_names[int(other)]}"
            for name, other, share in zip(names, batch["other"], batch["share"], strict=True)
        ]

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        best = measures.likeliest(self.logits(batch), self.label_names, _TOP)
        return [{"path": name, **top[0], "top": top} for name, top in zip(batch["name"], best, strict=True)]

    def format_prediction(self, prediction: dict[str, Any]) -> str:
        best = ", ".join(f"{one['label']} {one['probability']:.1%}" for one in prediction["top"])
        return f"{prediction['path']}: {best}"

    def save_model(self, folder: Path) -> None:
        self.network.to(memory_format=torch.contiguous_format)  # safetensors keeps no other order in memory
        self.source.save(self.network, folder, self.preprocessing, self.label_names)
