"""Diffusion: images from noise, of classes or without. UNets, diffusion transformers and samplers of diffusers.

B images of a batch · C channels of the network · S side in pixels · K classes
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from zoo import streams
from zoo.classification import labels
from zoo.constraints import ClosedUnitInterval, PositiveInt, ShareBelowOne, checked
from zoo.errors import ConfigError
from zoo.generation import feature_networks, sample_metrics
from zoo.generation.requests import RequestProcessor, file_name
from zoo.images import grids
from zoo.images.augment import Augmentation
from zoo.images.preprocessing import Normalise, Preprocessing, as_grey, as_uint8
from zoo.images.processor import ImageProcessor
from zoo.loop import recovery
from zoo.loop.microbatch import Loss
from zoo.models import denoisers, exported_pipelines, noise, samplers
from zoo.models.class_pipeline import denoise
from zoo.models.samplers import ImageSampling
from zoo.rules import ExactlyOne
from zoo.runs import run
from zoo.samples import INDEX, Batch, ImageRequest, ImageSample, Processor, Split
from zoo.task import Task

_AT_ONCE, _SHOWN, _NEAREST, _PREVIEW_ROWS, _MOST_COLUMNS = 256, 8, 4, 4, 10


_SAMPLING = ImageSampling()


@checked
class Diffusion(Task):
    """Train, test and sample a diffusion model of images.

    A batch has `image` ([B, 3, S, S] uint8), `targets` ([B], the number of the class, that of no class where it is
    withheld), `noise` ([B, C, S, S], standard normal) and `time` ([B], 0 for the image to 1 for noise).

    Args:
        pretrained: folder or hub id of a network or pipeline of diffusers, whose weights training starts from.
        architecture: instead of pretrained, to train from scratch: `{name: UNet2DModel, …}` with settings of that
            network of diffusers (in_channels 1 for grey images), or the class path of one's own.
        image_size: side of the square images. null takes the one that the network was made for.
        class_conditional: tell the network the class of each image, where the data has classes.
        prediction: what the network learns to say: the flow from image to noise, the noise (epsilon), v, or the image.
        noise_schedule: how fast images turn to noise, for every prediction but flow, which goes along a line.
        time_density: whether noisy images of all times are seen evenly, or those in the middle more often.
        weighting: min_snr gives the times that are easy less weight.
        label_dropout: share of images whose class is withheld in training, without which there is no guidance.
        hflip: probability of a horizontal flip. Set 0 where left and right mean something, as in digits.
        dropout: in the blocks of the network.
        sampling: how images are made of noise, in predictions, tests and previews.
        judge: run of an image classifier that was trained on the same classes, by whose features tests compare images.
        inception: TorchScript file of a feature network for FID and KID, if there is no judge.
        test_samples: images that a test makes and compares. null takes as many as the test data has.
    """

    unit = "images"
    sample_type = ImageRequest
    sample_types = (ImageSample,)
    predicts_from = "--count 16"
    changeable_on_resume = ("model.sampling", "model.judge", "model.inception", "model.test_samples")
    shorthands = {  # noqa: RUF012
        "count": "model.sampling.count",
        "label": "model.sampling.label",
        "steps": "model.sampling.steps",
        "guidance": "model.sampling.guidance",
        "seed": "seed_everything",
    }
    rules = (ExactlyOne(("pretrained", "architecture"), "weights to start from, or a network to train from scratch"),)

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: dict[str, Any] | None = None,
        image_size: PositiveInt | None = None,
        class_conditional: bool = True,
        prediction: Literal["flow", "epsilon", "v", "x0"] = "flow",
        noise_schedule: Literal["linear", "scaled_linear", "cosine"] = "linear",
        time_density: Literal["uniform", "logit_normal"] = "uniform",
        weighting: Literal["none", "min_snr"] = "none",
        label_dropout: ShareBelowOne = 0.1,
        hflip: ClosedUnitInterval = 0.5,
        dropout: ShareBelowOne = 0.0,
        sampling: ImageSampling = _SAMPLING,
        judge: str | None = None,
        inception: str | None = None,
        test_samples: PositiveInt | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pretrained, self.architecture, self.image_size = pretrained, architecture, image_size
        self.class_conditional, self.label_dropout, self.hflip = class_conditional, label_dropout, hflip
        self.prediction, self.noise_schedule = prediction, noise_schedule
        self.time_density, self.weighting, self.dropout = time_density, weighting, dropout
        self.sampling = sampling
        self.judge, self.inception, self.test_samples = judge, inception, test_samples
        self._test: dict[str, Any] = {}
        """Of the last test: what it was measured with, and images for its report."""

    # The network ------------------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[ImageSample]) -> None:
        names = labels.in_order(str(s.label) for s in samples if s.label is not None) if self.class_conditional else []
        source = denoisers.find(self.pretrained or self.architecture or {})
        if names and not source.can_have_classes:
            raise ConfigError(
                f"the images have {len(names)} classes, and {source.name} cannot be told any. "
                f"Set model.class_conditional false."
            )
        same = {*source.label_names} == {*names}  # then its rows are of these classes in that order
        self._set_up(source, source.label_names if same else names)

    def _set_up(self, source: denoisers.Denoiser, label_names: list[str]) -> None:
        if (size := self.image_size or source.image_size) is None:
            raise ConfigError("model.image_size is not set: the side of the images, in pixels.")
        if source.prediction not in (None, self.prediction):
            raise ConfigError(
                f"model.prediction is {self.prediction}, and {self.pretrained} was trained to say {source.prediction}. "
                f"Set model.prediction {source.prediction}."
            )
        source.try_out(len(label_names), size)
        self.data_state = {"label_names": label_names, "image_size": size, "network": source.describe()}
        self._check_sampling()

    def _known(self) -> dict[str, Any]:
        """What the training data has told; of pretrained weights without any, what they know themselves."""
        if not self.data_state:
            source = denoisers.find(self.pretrained or self.architecture or {})
            if not self.pretrained or (source.has_classes and not source.label_names):
                raise ConfigError("this model is not trained, and knows no classes yet; name a run with --run.")
            self._set_up(source, source.label_names if self.class_conditional else [])
        return self.data_state

    def _check_sampling(self) -> None:
        """Refuse settings of sampling that do not go with the training, before it begins."""
        self._sampler()
        if self.sampling.guidance != 1 and not (self.label_names and self.label_dropout):
            why = "model.label_dropout is 0" if self.label_names else "the network is told no classes"
            raise ConfigError(
                f"model.sampling.guidance is {self.sampling.guidance:g}, and {why}: it goes from what the network says "
                f"without a class to what it says with one. Set it to 1."
            )
        self._requests([self.sampling.label])

    @property
    def label_names(self) -> list[str]:
        """K names, in the order of their numbers; K itself stands for no class. None if the network is told none."""
        return self._known()["label_names"]

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(size=self._known()["image_size"], mean=(0.5,) * 3, std=(0.5,) * 3)

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        load, known = bool(self.pretrained) and not self.restored, self._known()
        self.source = denoisers.find(self.pretrained or "") if load else denoisers.restore(known["network"])
        with streams.seeded(self.seed, "initial weights"):
            self.network = self.source.build(len(self.label_names), self.preprocessing.size, self.dropout)
        if load and (fresh := self.source.load(self.network)):
            print(f"{self.pretrained}: of these the weights do not fit, and start at random: {labels.some(fresh)}")
        if self.gradient_checkpointing:
            self.source.checkpoint_activations(self.network)
        self.normalise = Normalise(self.preprocessing)
        self.train(self.training)

    # Batches ----------------------------------------------------------------------------------------------------

    def processor(self, split: Split) -> Processor:
        if split == "predict":
            return RequestProcessor(self.label_names)
        augmentation = Augmentation(scale=1.0, hflip=self.hflip) if split == "train" else None
        return ImageProcessor(self.label_names, self.preprocessing, augmentation)

    def example_batch(self, n: int) -> Batch:
        side = self.preprocessing.size
        generator = streams.generator("example batch")
        images = torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)
        return {"image": images, "targets": torch.arange(n) % max(1, len(self.label_names))}

    def prediction_example(self, n: int) -> Batch:
        return self._requests([None] * n)

    def prediction_settings(self) -> Any:
        return self.sampling

    def prepare(self, batch: Batch, draws: streams.Draws, split: Split) -> Batch:
        """Noise and time of each image, and whose class is withheld in training.

        Evaluation draws the same for an image every time, so that two losses differ by the network alone.
        """
        shape = (self.source.channels, self.preprocessing.size, self.preprocessing.size)
        drawn = draws.each(lambda stream: torch.randn(shape, generator=stream), "noise")  # [B, C, S, S]
        if split == "predict":
            numbers = draws.each(lambda stream: torch.randint(2**62, (), generator=stream), "sampler")
            return {**batch, "noise": drawn, "stream": numbers}
        times = draws.each(lambda stream: noise.draw_time(self.time_density, stream), "time")
        label = batch["targets"]
        withheld = label < 0
        if split == "train" and self.label_dropout:
            shares = draws.each(lambda stream: torch.rand((), generator=stream), "label")
            withheld = withheld | (shares < self.label_dropout)
        return {**batch, "targets": label.masked_fill(withheld, len(self.label_names)), "noise": drawn, "time": times}

    def captions(self, batch: Batch) -> list[str]:
        names = [*self.label_names, "no class"]
        return [f"{names[int(i)]}\ntime {float(t):.2f}" for i, t in zip(batch["targets"], batch["time"], strict=True)]

    # What is computed -------------------------------------------------------------------------------------------

    def seen(self, images: Tensor) -> Tensor:
        """[B, C, S, S] f32, -1..1: images as the network sees them.

        Args:
            images: [B, 3, S, S] uint8.
        """
        return self.normalise(images if self.source.channels != 1 else as_grey(images))[:, : self.source.channels]

    def predicted(self, noisy: Tensor, told: Tensor, label: Tensor) -> Tensor:
        return self.source.predict(self.network, noisy, told, label if self.label_names else None)

    def loss(self, batch: Batch) -> Loss:
        image, drawn = self.seen(batch["image"]), batch["noise"]
        signal, noise_share, told = noise.at_time(batch["time"], self.prediction, self.noise_schedule)
        said = self.predicted(signal * image + noise_share * drawn, told, batch["targets"]).float()
        error = (said - noise.target(self.prediction, image, drawn, signal, noise_share)) ** 2
        weight = noise.weight(self.weighting, self.prediction, signal, noise_share)
        return (weight * error).mean((1, 2, 3)).sum(), len(image)

    def _sampler(self) -> Any:
        return samplers.make(self.sampling.sampler, self.prediction, self.noise_schedule)

    def sampled(self, batch: Batch) -> Tensor:
        """[B, 3, S, S] uint8: images of the batch's noise.

        Args:
            batch: of a `RequestProcessor`, prepared.
        """
        generators = [torch.Generator().manual_seed(int(number)) for number in batch["stream"]]
        how, null = self.sampling, len(self.label_names)
        drawn, label, sampler = batch["noise"], batch["targets"], self._sampler()
        return as_uint8(denoise(self.predicted, sampler, drawn, label, null, how.guidance, how.steps, generators))

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        images = grids.as_images(self.sampled(batch))
        return [{"image": image, "label": label} for image, label in zip(images, batch["name"], strict=True)]

    def predict(  # type: ignore[override]  # what a generator is asked for is no input
        self,
        inputs: Any = None,
        seed: int = 0,
        *,
        count: int | None = None,
        label: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Image.Image]:
        """Images of classes: `predict(["cat", "dog"])`, or `predict(count=4, label="cat")`.

        Args:
            inputs: a class for each image; None for `count` images of `label`.
            seed: the same seed gives the same images.
            count: null for that of model.sampling; as all that follow.
        """
        given: dict[str, Any] = {"count": count, "label": label, "steps": steps, "guidance": guidance}
        before = self.sampling
        self.sampling = replace(before, **{name: value for name, value in given.items() if value is not None})
        try:
            self._check_sampling()
            predictions = super().predict(self.samples_to_predict() if inputs is None else inputs, seed)
        finally:
            self.sampling = before
        return [prediction["image"] for prediction in predictions]

    def samples_to_predict(self) -> list[ImageRequest]:
        count, label = self.sampling.count, self.sampling.label
        return [ImageRequest(name) for name in ([label] * count if label else self._in_turn(count))]

    def _in_turn(self, count: int, most: int | None = None) -> list[str | None]:
        """So many classes, one after the other and from the beginning again; at most the first few of them."""
        names: list[str | None] = [*self.label_names[:most]] or [None]
        return [names[i % len(names)] for i in range(count)]

    def _requests(self, wanted: Sequence[str | None]) -> Batch:
        processor = self.processor("predict")
        return processor.collate(processor.encode([ImageRequest(label) for label in wanted]))

    # Evaluation -------------------------------------------------------------------------------------------------

    def compute_metrics(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        found = {"loss": means["loss"], "images": counts["loss"]}
        return found | self._measure() if self.trainer.testing else found

    def eval_settings(self, split: Split) -> dict[str, Any]:
        found = {"image size": self.preprocessing.size, "classes": len(self.label_names)}
        return {**found, **(self._test["settings"] if split == "test" else {})}

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._test = {"network": self._feature_network(), "settings": {}}

    def _feature_network(self) -> feature_networks.FeatureNetwork:
        if self.judge:
            judge = run.load(self.judge).to(self.device)
            return feature_networks.Judge(judge, str(run.find(self.judge)), self.label_names)
        if self.inception:
            return feature_networks.Script(self.inception, self.device)
        return feature_networks.Pixels()

    def _measure(self) -> dict[str, float]:
        """Sample as many images as are asked for, and compare them with the data by the features of a network."""
        network, count = self._test["network"], self.test_samples or len(self.trainer.datamodule.items["test"])
        is_measured = not isinstance(network, feature_networks.Pixels)
        wanted = self._in_turn(count if is_measured else _SHOWN)
        how = self.sampling.describe(self.prediction)
        print(f"sampling {len(wanted):,} images: {', '.join(f'{name} {value}' for name, value in how.items())}")
        began = time.monotonic()
        made = self.made(wanted)
        settings = {"images/s": round(len(made) / (time.monotonic() - began), 1)}
        samples = network.read_all([{"image": made, "targets": self._requests(wanted)["targets"]}])
        train = network.read_all(self._real("train"))
        near = sample_metrics.nearest(samples.values[:_SHOWN], train.values, _NEAREST)
        [examples] = self._real("train", [train.number[i] for i in near.flatten().tolist()])
        self._test |= {"made": made[:_SHOWN], "examples": examples["image"], "settings": settings}
        if not is_measured:
            print("FID and KID need a feature network: model.judge (a run of an image classifier) or model.inception.")
            return {}
        self._test["settings"] = {
            "samples": len(made), **how, "seed": self.seed, "features": network.name,
            "reference": f"train ({len(train.values):,} images)", **settings,
        }  # fmt: skip
        has_classes = bool(network.label_names and self.label_names)
        return sample_metrics.compared(train, network.read_all(self._real("test")), samples, has_classes)

    def _real(self, split: Split, indices: Sequence[int] | None = None) -> Iterable[Batch]:
        """Images of the data as the network sees their colours."""
        for batch in filter(None, self.trainer.datamodule.batches(split, self.processor("test"), indices)):
            yield {**batch, "image": as_grey(batch["image"])} if self.source.channels == 1 else batch

    def made(self, wanted: Sequence[str | None]) -> Tensor:
        """[N, 3, S, S] uint8, on the CPU: an image of each of these classes; the i-th of the run's seed is always of
        the same noise."""
        parts = []
        with self.trainer.precision_plugin.forward_context(), torch.inference_mode():
            for start in range(0, len(wanted), _AT_ONCE):
                batch = self._requests(wanted[start : start + _AT_ONCE])
                batch = {**batch, INDEX: list(range(start, start + len(batch["targets"])))}
                prepared = self.prepared(batch, "predict")
                parts += recovery.in_micro_batches(self, "prediction", prepared, self.sampled, self.seed)
        return torch.cat([part.cpu() for part in parts])

    def write_test_report(self, folder: Path) -> list[Path]:
        """Samples, each with the training images that it is most like."""
        return [grids.save(grids.with_examples(self._test["made"], self._test["examples"]), folder / "nearest.png")]

    # What is shown ----------------------------------------------------------------------------------------------

    def preview_image(self) -> Image.Image:
        """A few samples of each class (of the first ten), always of the same noise."""
        columns = min(_MOST_COLUMNS, len(self.label_names)) or 8
        was_training = self.training
        self.eval()
        try:
            return grids.grid(self.made(self._in_turn(_PREVIEW_ROWS * columns, columns)), columns)
        finally:
            self.train(was_training)

    def finish_previews(self, folder: Path) -> list[Path]:
        """A strip and an animation of the previews."""
        return grids.over_time(folder)

    def format_prediction(self, prediction: dict[str, Any]) -> str:
        return str(prediction["path"])

    def write_prediction(self, prediction: dict[str, Any], folder: Path, number: int) -> dict[str, Any]:
        label, how = prediction["label"], self.sampling.describe(self.prediction)
        path = grids.save(prediction["image"], folder / file_name(number, label))
        return {"path": path.as_posix(), "label": label, "number": number, "seed": self.seed, **how}

    def finish_predictions(self, folder: Path) -> list[Path]:
        """One grid of the images in the folder, with a column for each class where all are made in turn."""
        in_turn = not self.sampling.label and 1 < len(self.label_names) <= _MOST_COLUMNS
        return [grids.of_folder(folder, len(self.label_names) if in_turn else None)]

    def save_model(self, folder: Path) -> None:
        exported_pipelines.save(self.network, self._sampler(), self.label_names, self.sampling.steps, folder)
