"""Task: the one loop of training, validation, test and prediction. A new task writes what is special about it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from zoo import streams
from zoo.constraints import NonNegativeFloat, NonNegativeInt, PositiveInt, checked
from zoo.errors import ConfigError
from zoo.loop import descent, microbatch, optim, prepare, probe, recovery, resume
from zoo.loop.checkpoint import wholly_frozen
from zoo.loop.display import Display
from zoo.loop.means import ExactMeans
from zoo.loop.microbatch import Loss
from zoo.loop.optim import Schedule
from zoo.loop.precision import check_trainable_is_32_bit
from zoo.loop.ranks import Together
from zoo.loop.written import need, need_sample_type, refuse_hooks, to_write
from zoo.recorded import Recorded
from zoo.samples import Batch, Processor, Split, as_samples, encoded


@checked
class Task(Recorded, Display):
    """What is trained, and by which loss. Subclasses write:

    - `configure_model()`: set `self.network`; idempotent; called when the data is known;
    - `processor(split)`: the `Processor` that makes batches of samples;
    - `loss(batch) -> (sum, count)`: the loss summed over its targets, and how many targets there were;
    - `example_batch(n)`: the largest batch of n samples that the processor can yield, made from nothing;
    - `evaluate(batch)`, `compute_metrics(...)`: when the loss is not the metric;
    - `setup_from_data(samples)`: when the network depends on the training data (vocabulary, number of labels);
    - `prepare(batch, draws, split)`: when something is drawn at random (mixup, the noise of diffusion);
    - `predict_batch(batch)` and `save_model(folder)`; and what of `Display` it can show better.

    Its docstring says what is in a batch. What the loss compares with is `targets`, in every task.

    A task with several optimizers writes `configure_optimizers` and `training_step`, of `optimizer_for` and `descend`.

    The constructor stores plain arguments and nothing else: no download, no network.

    Args:
        optimizer: class path of the optimizer, such as torch.optim.AdamW. Its arguments are keys below it:
            optimizer.lr, optimizer.weight_decay. null takes AdamW, with values that a line names.
        schedule: how the learning rate falls after the warm-up. cosine and linear end at 0 with the last step.
        warmup_steps: steps in which the learning rate rises linearly. Below 1 it is their share of all steps. The first
            step has 1 / warmup_steps of the learning rate (in other libraries 0, which trains nothing).
        micro_batch_size: samples that go through the GPU at a time. null takes the whole batch. auto tries before the
            first step how many fit on the GPU (on a CPU: all). It decides memory and speed, and the result stays the
            same up to rounding and to dropout masks. It is halved when memory runs out.
        gradient_checkpointing: computes activations again in the backward pass. This is about a third slower and needs
            far less memory.
        compile: compiles the network with torch.compile. The first steps then take minutes.
    """

    unit: ClassVar[str] = "targets"
    """What `loss` counts, for the throughput."""
    sample_type: ClassVar[type]
    """What `predict` wraps its inputs in."""
    sample_types: ClassVar[tuple[type, ...]] = ()
    """What it learns from, where that is something else; data that yields no such samples is refused."""
    changeable_on_resume: ClassVar[tuple[str, ...]] = ()
    """Settings, as model.sampling, that may differ when a run is resumed: they do not touch the training."""
    network: Any

    if TYPE_CHECKING:
        trainer: Any  # zoo.Trainer; the annotation would need an import in a circle

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_hooks(cls)

    def __init__(
        self,
        optimizer: Callable[[Iterable], Optimizer] | None = None,
        schedule: Schedule = "cosine",
        warmup_steps: NonNegativeInt | NonNegativeFloat = 0,
        micro_batch_size: PositiveInt | Literal["auto"] | None = "auto",
        gradient_checkpointing: bool = False,
        compile: bool = False,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False  # frozen parts are not in a checkpoint; on_load_checkpoint checks the rest
        self.optimizer, self.schedule, self.warmup_steps = optimizer, schedule, warmup_steps
        self.micro_batch_size = micro_batch_size
        self.gradient_checkpointing, self.compile_network = gradient_checkpointing, compile
        self.data_state: dict[str, Any] = {}
        """What `setup_from_data` and `configure_model` found out and a checkpoint must carry; plain types only."""
        self.origin: Path | None = None  # the run that its weights come from
        self.restored = False
        """Whether all weights are to come from a checkpoint, so that pretrained ones need not be loaded."""
        self.last_metrics: dict[str, float] = {}
        self.step_loss: Tensor = torch.zeros(())
        self.targets_in_step: Any = 0
        """Loss of the step in progress, over the whole batch, and how many targets it is over."""
        self.at_once: dict[str, int] = {}
        """Samples at a time in evaluation and in prediction, once memory has run out there."""
        self._means, self.retries = ExactMeans(), recovery.Retries()
        self.together: dict[str, Together] = defaultdict(Together)

    @property
    def seed(self) -> int:
        return self.trainer.seed if self._trainer is not None else 0

    @property
    def name(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @property
    def is_fitting(self) -> bool:
        return self._trainer is not None and self.trainer.state.fn == "fit"

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Take over what is known from the data, before data and network are made. Weights are loaded later."""
        self.data_state = checkpoint["zoo"]["data_state"]
        self.restored = checkpoint["zoo"].get("is_whole", True)

    # What a task writes -----------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[Any]) -> None:
        """Take from the training samples what the network's shape depends on, into `self.data_state`.

        Called once, before `processor` and `configure_model`, and never for a run that is resumed, tested or loaded.
        """

    @to_write("to make batches of samples")
    def processor(self, split: Split) -> Processor:
        raise NotImplementedError

    @to_write("to say what is trained, as a pair (sum, count)")
    def loss(self, batch: Batch) -> Loss:
        """(sum over targets, their number), or named pairs of them, each divided by its count and then added."""
        raise NotImplementedError

    def count_targets(self, batch: Batch) -> Mapping[str, Tensor] | None:
        """Targets of each named pair in a whole batch, on the CPU. Only a loss of several pairs needs it."""
        return None

    def evaluate(self, batch: Batch) -> Loss:
        """Named (sum, count) pairs; their exact means over the whole split go to `compute_metrics`.

        A sum may have any shape (a confusion matrix, say); its mean has the same.
        """
        return microbatch.named(self.loss(batch), self.loss)

    def compute_metrics(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        """What an evaluation reports, from the means and counts of `evaluate`'s pairs over the whole split.

        Args:
            means: floats, or float64 tensors on the CPU where the sums had a shape.
        """
        return means

    @to_write("for predictions")
    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        """One plain dictionary per sample. What it draws at random is seeded by the loop."""
        raise NotImplementedError

    @to_write("to measure memory")
    def example_batch(self, n: int) -> Batch:
        raise NotImplementedError

    def evaluation_example(self, n: int) -> Batch:
        """As example_batch, for `evaluate`; another one where evaluation is different."""
        return self.example_batch(n)

    def prediction_example(self, n: int) -> Batch | None:
        """As example_batch, for `predict_batch`, where that needs a measure of its own (generation, say)."""

    def check_samples(self, samples: Sequence[Any], split: Split) -> dict[int, str] | None:
        """Refuse samples that the network as it is cannot learn from or be measured on (an unknown class, say); or
        return those to leave out, by index, each with a reason as a count reads it: "longer than 448 tokens"."""

    def prepare(self, batch: Batch, draws: streams.Draws, split: Split) -> Batch:
        """A batch as `loss`, `evaluate` or `predict_batch` sees it, with whatever is drawn at random for it.

        Called on the whole batch of this process, on the CPU, before it is cut: once a step in training, once a batch
        in evaluation and prediction. Draws from `draws` and nothing else: `draws.each` gives a sample the same noise in
        whatever batch, micro-batch or process it is, another at every step of training, always the same in evaluation.
        """
        return batch

    def micro_batches(self) -> tuple[int | None, microbatch.Divide]:
        """Samples that go through the network at a time, and how a batch is divided into them.

        A network that couples its samples (batch statistics) has an answer of its own, which no GPU may change.
        """
        size = self.micro_batch_size
        return (size if isinstance(size, int) else None), microbatch.even_sizes

    def parameter_settings(self, name: str, parameter: Any) -> dict[str, Any]:
        """What the optimizer is told of a parameter: `weight_decay`, and `lr_scale`, a factor of its learning rate."""
        return optim.spare_vectors(name, parameter)

    def usual_optimizer(self) -> Callable[[Iterable], Optimizer]:
        """What trains this task where no optimizer is set."""
        return optim.USUAL

    def cheaper(self) -> list[str]:
        """What would make a sample need less memory, for those who have run out of it."""
        return [] if self.gradient_checkpointing else ["model.gradient_checkpointing true"]

    def trim(self, piece: Batch) -> Batch:
        """A micro-batch without the padding that only longer samples of the others need, on its way to the device."""
        return piece

    def prediction_settings(self) -> Any:
        """What decides how much memory a prediction takes, beside the network and `prediction_example`."""

    def to_compile(self) -> Module:
        """What `compile` compiles: what `loss` calls."""
        return self.network

    @to_write("to export the weights at the end of a training")
    def save_model(self, folder: Path) -> None:
        """Write what plain transformers, timm or diffusers load into the folder, which is there and empty."""
        raise NotImplementedError

    def configure_callbacks(self) -> list[Any]:
        if hasattr(self.trainer, "allowed_changes"):  # here, as a trainer asks for callbacks before data is read
            return []
        raise ConfigError("lightning.Trainer cannot run this task, whose loop needs zoo.Trainer. Use that one.")

    # Training ---------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer | list[Optimizer]:
        return self.optimizer_for(self)

    def optimizer_for(self, part: Module) -> Optimizer:
        """An optimizer as the config says, of what is trained in a part of the task."""
        groups = optim.parameter_groups(part, self.parameter_settings)
        made = optim.made(self.optimizer or self.usual_optimizer(), groups)
        if self.optimizer is None and self.trainer.is_global_zero:
            print(f"optimizer: {optim.describe(made)}, as model.optimizer is not set")
        return made

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        count = None if type(self).count_targets is Task.count_targets else self.count_targets
        means = self.descend(batch, self.loss, self.optimizers(), count)
        self.log("train/loss", self.step_loss, batch_size=1)
        if len(means) > 1:
            self.log_dict({f"train/{name}": mean for name, mean in means.items()}, batch_size=1)

    def descend(
        self,
        batch: Batch,
        loss: Callable[[Batch], Loss],
        optimizer: Any,
        count: Callable[[Batch], Mapping[str, Tensor] | None] | None = None,
    ) -> dict[str, Tensor]:
        """One step of an optimizer down a loss of the whole batch, in as many micro-batches as memory needs.

        Only what the optimizer has is trained in it; all else is as if frozen. One batch may see several of them, of
        several optimizers, or none: what counts as a step of the run is the batch.

        Args:
            count: as the method `count_targets`, for a loss of several pairs.

        Returns:
            The exact mean of each pair over the batch, over all processes.
        """
        return descent.descend(self, batch, loss, optimizer, count)

    def lr_factor(self, step: int, total: int) -> float:
        """What the learning rate is multiplied with at `step`."""
        warmup = self.warmup_steps if self.warmup_steps >= 1 else round(self.warmup_steps * total)
        return optim.lr_factor(step, total, self.schedule, int(warmup))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """A batch is prepared and stays in host memory; its micro-batches move one by one."""
        return self.prepared(batch, prepare.split_in_hand(self.trainer), self.global_step)

    def prepared(self, batch: Batch, split: Split, step: int = 0) -> Batch:
        """What `prepare` makes of a batch: at this step, if it is one of training."""
        return prepare.prepared(self, batch, split, step)

    def to_device(self, piece: Batch) -> Batch:
        return super().transfer_batch_to_device(self.trim(piece), self.device, 0)

    def train(self, mode: bool = True) -> Self:
        """As ever, but what is wholly frozen stays in evaluation: no dropout, no moving statistics."""
        super().train(mode)
        for module in wholly_frozen(self).values():
            module.eval()
        return self

    def on_fit_start(self) -> None:
        self.train()  # transformers hands its pretrained networks over in eval mode, and Lightning leaves them so
        check_trainable_is_32_bit(self)
        if self.compile_network:
            self.to_compile().compile(dynamic=True)  # one graph for micro-batches of any size
        if self.micro_batch_size == "auto":
            self.micro_batch_size = None
            if probe.is_possible(self):
                probe.choose(self, self.trainer.vram)

    # Evaluation -------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._means = ExactMeans()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        split = prepare.split_in_hand(self.trainer)
        for loss in recovery.in_micro_batches(self, "evaluation", batch, self.evaluate, self.seed, split):
            self._means.add(microbatch.named(loss, self.evaluate), self.device)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_start(self) -> None:
        self._means = ExactMeans()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _report(self, prefix: str) -> None:
        means, counts = self._means.over_all_processes()
        if self.trainer.sanity_checking:
            return
        self.last_metrics = self.compute_metrics(means, counts)
        self.log_dict({f"{prefix}/{k}": v for k, v in self.last_metrics.items()}, batch_size=1)
        self.log("step", float(self.global_step), batch_size=1)

    # Prediction -------------------------------------------------------------------------------------------------

    def predict(self, inputs: Any, seed: int = 0) -> list[dict[str, Any]]:
        """Predictions for samples, or for what a sample is made of (a prompt, an image, a path …), in their order.

        Args:
            inputs: a list of them, or a single one.
            seed: the same seed gives the same predictions.
        """
        need(self, "predict_batch")
        need_sample_type(self)
        processor, samples = self.processor("predict"), as_samples(inputs, self.sample_type)
        return self.predict_from(processor.collate(encoded(processor, samples)), seed) if samples else []

    def predict_from(self, batch: Batch, seed: int = 0) -> list[dict[str, Any]]:
        """As `predict`, for a batch of the processor for predictions."""
        was_training = self.training
        self.eval()
        try:
            return self._predict(prepare.prepared(self, batch, "predict", seed=seed), seed)
        finally:
            self.train(was_training)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        return self._predict(batch, self.seed)

    def _predict(self, batch: Batch, seed: int) -> list[dict[str, Any]]:
        eager = torch.compiler.set_stance("force_eager")  # sizes that grow by one would be compiled one by one
        with torch.inference_mode(), eager:
            parts = recovery.in_micro_batches(self, "prediction", batch, self.predict_batch, seed)
        return [prediction for part in parts for prediction in part]

    # Checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained and one integer for the loops; plain types only."""
        resume.keep(self, checkpoint)

    def load_trained(self, checkpoint: dict[str, Any]) -> None:
        """Put a checkpoint's weights (their averages, where there are any) into the network of `configure_model`."""
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict({**checkpoint["state_dict"], **checkpoint.get("averaged", {})}, strict=False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Accept a checkpoint of this network only, and put the loops where its one integer says."""
        resume.accept(self, checkpoint)
