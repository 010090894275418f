"""Task: the one loop of training, validation, test and prediction. A new task writes what is special about it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from zoo import guards, microbatch, optim, probe, recovery, streams
from zoo.checkpoint import loop_state, mismatch, without_frozen
from zoo.errors import ConfigError
from zoo.means import ExactMeans
from zoo.microbatch import Batch, Loss
from zoo.optim import Schedule
from zoo.precision import check_trainable_is_32_bit
from zoo.samples import Encoder, Split

_NEVER_CALLED = {
    "optimizer_step": "an optimizer class of your own (model.optimizer), or on_before_optimizer_step",
    "optimizer_zero_grad": "on_train_batch_start",
    "configure_gradient_clipping": "trainer.gradient_clip_val, or on_before_optimizer_step",
    "lr_scheduler_step": "model.schedule, or set the rates in on_train_batch_start",
}


class Task(LightningModule):
    """What is trained, and by which loss. Subclasses write:

    - `configure_model()`: set `self.network`; idempotent; called when the data is known;
    - `encoder(split)`: the `Encoder` that makes batches of samples;
    - `loss(batch) -> (sum, count)`: the loss summed over its targets, and how many targets there were;
    - `example_batch(n)`: the largest batch of n samples that the encoder can yield, made from nothing;
    - `evaluate(batch)`, `figures(...)`: when the loss is not the metric;
    - `adapt(samples)`: when the network depends on the training data (vocabulary, number of labels);
    - `predict_batch(batch)` and `save_model(folder)`.

    The constructor stores plain arguments and nothing else: no download, no network.

    Args:
        optimizer: by class path; it is called with the parameter groups.
        schedule: of the learning rate after the warm-up, down to 0 at the last step (or constant).
        warmup_steps: steps of linear rise; below 1, their share of all steps.
        micro_batch_size: samples that go through the network at a time; null for the whole batch, auto for as many as
            fit: tried out on a card before the first step, all on a CPU. It decides memory and speed and not the
            result (up to rounding, and up to masks that the network draws inside, as dropout). Where memory runs out
            all the same, it is halved.
        gradient_checkpointing: compute activations again in the backward pass: about a third slower, far less memory.
        compile: compile the network with torch.compile; the first steps take minutes.
    """

    unit: ClassVar[str] = "targets"
    """What `loss` counts, for the throughput."""
    sample_type: ClassVar[type]
    """What `predict` wraps its inputs in."""
    free_on_resume: ClassVar[tuple[str, ...]] = ()
    """Settings, as model.sampling, that may differ when a run is resumed: they do not touch the training."""
    network: Any

    if TYPE_CHECKING:
        trainer: Any  # zoo.Trainer; the annotation would need an import in a circle

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in _NEVER_CALLED.keys() & vars(cls).keys():
            raise ConfigError(
                f"{cls.__name__}.{hook} would never be called: zoo's loop steps the optimizer itself. "
                f"Use {_NEVER_CALLED[hook]}."
            )

    def __init__(
        self,
        optimizer: Callable[[Iterable], Optimizer],
        schedule: Schedule = "cosine",
        warmup_steps: int | float = 0,
        micro_batch_size: int | Literal["auto"] | None = "auto",
        gradient_checkpointing: bool = False,
        compile: bool = False,
    ):
        super().__init__()
        if isinstance(micro_batch_size, int) and micro_batch_size < 1:
            raise ConfigError(f"model.micro_batch_size is {micro_batch_size}; a whole number from 1, auto, or null.")
        if warmup_steps < 0:
            raise ConfigError(f"model.warmup_steps is {warmup_steps}; a number of steps, or their share below 1.")
        self.automatic_optimization = False
        self.strict_loading = False  # frozen parts are not in a checkpoint; on_load_checkpoint checks the rest
        self.optimizer, self.schedule, self.warmup_steps = optimizer, schedule, warmup_steps
        self.micro_batch_size = micro_batch_size
        self.gradient_checkpointing, self.compile_network = gradient_checkpointing, compile
        self.learned: dict[str, Any] = {}
        """What `adapt` and `configure_model` found out and a checkpoint must carry; plain types only."""
        self.restored = False
        """Whether all weights are to come from a checkpoint, so that pretrained ones need not be loaded."""
        self.last_figures: dict[str, float] = {}
        """Figures of the last evaluation."""
        self.step_loss = torch.zeros(())
        """Loss of the step in progress, over the whole batch."""
        self._means = ExactMeans()
        self.at_once: dict[str, int] = {}
        """Samples at a time in evaluation and in prediction, once memory has run out there."""
        self.retries = recovery.Retries()

    @property
    def seed(self) -> int:
        return self.trainer.seed if self._trainer is not None else 0

    @property
    def name(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Take over what was learned of the data, before data and network are made. Weights are loaded later."""
        self.learned = checkpoint["zoo"]["learned"]
        self.restored = checkpoint["zoo"].get("is_whole", True)

    # What a task writes -----------------------------------------------------------------------------------------

    def adapt(self, samples: Sequence[Any]) -> None:
        """Take from the training samples what the network's shape depends on, into `self.learned`.

        Called once, before `encoder` and `configure_model`, and never for a run that is resumed, tested or loaded.
        """

    def encoder(self, split: Split) -> Encoder:
        raise NotImplementedError

    def loss(self, batch: Batch) -> Loss:
        """(sum over targets, number of targets), or named pairs of them, each divided by its count and then added."""
        raise NotImplementedError

    def count(self, batch: Batch) -> Mapping[str, Tensor] | None:
        """Targets of each named pair in a whole batch, on the CPU. Only a loss of several pairs needs it."""
        return None

    def evaluate(self, batch: Batch) -> Loss:
        """Named (sum, count) pairs; their exact means over the whole split go to `figures`.

        A sum may have any shape (a confusion matrix, say); its mean has the same.
        """
        return self.loss(batch)

    def figures(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        """What an evaluation reports, from the means and counts of `evaluate`'s pairs over the whole split.

        Args:
            means: floats, or float64 tensors on the CPU where the sums had a shape.
        """
        return means

    def protocol(self, split: Split) -> dict[str, Any]:
        """How the figures were measured, so that they can be compared."""
        return {}

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        """One plain dictionary per sample. What it draws at random is seeded by the loop."""
        raise NotImplementedError

    def show(self, prediction: dict[str, Any]) -> str:
        """A prediction as a line or two on the screen."""
        return str(prediction)

    def preview(self) -> list[str]:
        """A few lines that show what the network does now; shown after every validation."""
        return []

    def example_batch(self, n: int) -> Batch:
        raise NotImplementedError

    def evaluation_example(self, n: int) -> Batch:
        """As example_batch, for `evaluate`; another one where evaluation is different."""
        return self.example_batch(n)

    def prediction_example(self, n: int) -> Batch | None:
        """As example_batch, for `predict_batch`, where that needs a measure of its own (generation, say)."""

    def check_samples(self, samples: Sequence[Any], split: Split) -> None:
        """Refuse samples that the network as it is cannot learn from or be measured on (an unknown class, say)."""

    def mix(self, batch: Batch, stream: torch.Generator) -> Batch:
        """A training batch as the loss sees it, where that takes several samples at once: mixup, say.

        Called on the whole batch of this process, on the CPU, before it is cut. Draws from `stream` and nothing else.
        """
        return batch

    def pieces(self) -> tuple[int | None, microbatch.Divide]:
        """Samples that go through the network at a time, and how a batch is divided into them.

        A network that couples its samples (batch statistics) has an answer of its own, which no card may change.
        """
        size = self.micro_batch_size
        return (size if isinstance(size, int) else None), microbatch.even_sizes

    def parameter_settings(self, name: str, parameter: Any) -> dict[str, Any]:
        """What the optimizer is told of a parameter: `weight_decay`, and `lr_scale`, a factor of its learning rate."""
        return optim.spare_vectors(name, parameter)

    def to_compile(self) -> Module:
        """What `compile` compiles: what `loss` calls."""
        return self.network

    def write_evidence(self, folder: Path) -> list[Path]:
        """Files that show more of the last test than its figures do. Returns what was written."""
        return []

    def save_model(self, folder: Path) -> None:
        """Write what plain transformers, timm or diffusers load."""
        raise NotImplementedError

    # Training ---------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        groups = optim.parameter_groups(self, self.parameter_settings)
        if not groups:
            raise ConfigError("nothing to train: every parameter of the network is frozen.")
        optimizer = self.optimizer(groups)
        optim.prefer_fused(optimizer)
        optimizer.register_state_dict_post_hook(optim.sign)
        optimizer.register_load_state_dict_pre_hook(optim.keep_settings)
        return optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        step, total = self.global_step, self.trainer.total_steps
        optim.set_lr(optimizer.param_groups, self.lr_factor(step, total))
        optimizer.zero_grad()
        batch = self._mixed(batch, step)
        pieces = recovery.accumulate(
            self,
            batch,
            backward=self._backward,
            stream=(self.seed, "network", step, self.trainer.global_rank),
            counts=self._counts(batch),
            forget=optimizer.zero_grad,
        )
        totals = microbatch.finish(pieces, self.parameters())
        means = totals.means()
        self.step_loss = torch.stack(list(means.values())).sum()
        recovery.update(self, optimizer)
        self.log("train/loss", self.step_loss, prog_bar=True, batch_size=1)
        if len(means) > 1:
            self.log_dict({f"train/{name}": mean for name, mean in means.items()}, batch_size=1)
        self.log("train/lr", max(group["lr"] for group in optimizer.param_groups), batch_size=1)
        self.log("train/micro_batch_size", float(recovery.largest_piece(self, batch)), batch_size=1)
        self.log("step", float(self.global_step), batch_size=1)  # loggers take it as their step: steps done so far
        self.trainer.targets_done += next(iter(totals.counts.values()))
        recovery.ease(self, batch)

    def _mixed(self, batch: Batch, step: int) -> Batch:
        return self.mix(batch, streams.generator(self.seed, "mix", step, self.trainer.global_rank)) if batch else batch

    def lr_factor(self, step: int, total: int) -> float:
        """What the learning rate is multiplied with at `step`: a function of nothing else."""
        warmup = self.warmup_steps if self.warmup_steps >= 1 else round(self.warmup_steps * total)
        return optim.lr_factor(step, total, self.schedule, int(warmup))

    def _backward(self, loss: Tensor) -> None:
        if not loss.requires_grad:
            raise ConfigError(
                "the loss depends on no trainable parameter, so there is no gradient at all. "
                "Is the whole network frozen, or does loss() detach its result?"
            )
        with self.trainer.strategy.block_backward_sync() if self.trainer.world_size > 1 else torch.enable_grad():
            self.manual_backward(loss)

    def _counts(self, batch: Batch) -> dict[str, Tensor] | None:
        everyone = microbatch.gather(self.count(batch) if batch else {})
        if any(theirs is None for theirs in everyone):
            return None
        names = {name: None for theirs in everyone for name in theirs or {}}
        return {name: torch.as_tensor(sum(theirs[name] for theirs in everyone if theirs)) for name in names} or None

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """A batch stays in host memory; its pieces move one by one."""
        return batch

    def place(self, piece: Batch) -> Batch:
        return super().transfer_batch_to_device(piece, self.device, 0)

    def on_fit_start(self) -> None:
        self.train()  # transformers hands its pretrained networks over in eval mode, and Lightning leaves them so
        check_trainable_is_32_bit(self)
        if self.compile_network:
            self.to_compile().compile(dynamic=True)  # one graph for pieces of any size
        if self.micro_batch_size == "auto":
            self.micro_batch_size = None
            if self.can_be_probed():
                probe.choose(self, self.trainer.vram)

    def can_be_probed(self) -> bool:
        limited = self.device.type == "cuda" or self.trainer.vram is not None
        has_example = type(self).example_batch is not Task.example_batch
        has_data = getattr(self.trainer, "datamodule", None) is not None
        return limited and has_example and has_data and recovery.batch_statistics(self) is None

    # Evaluation -------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._means = ExactMeans()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._add(batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_start(self) -> None:
        self._means = ExactMeans()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._add(batch)

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _add(self, batch: Batch) -> None:
        if not batch:  # the last batch may leave a process without samples
            return
        for loss in recovery.in_pieces(self, "evaluation", batch, self.evaluate, self.seed):
            self._means.add(loss, self.device)

    def _report(self, prefix: str) -> None:
        means, counts = self._means.over_all_processes()
        if self.trainer.sanity_checking:
            return
        self.last_figures = self.figures(means, counts)
        self.log_dict({f"{prefix}/{k}": v for k, v in self.last_figures.items()}, batch_size=1)
        self.log("step", float(self.global_step), batch_size=1)

    # Prediction -------------------------------------------------------------------------------------------------

    def predict(self, inputs: Sequence[Any], seed: int = 0) -> list[dict[str, Any]]:
        """Predictions for samples, or for what a sample is made of (a prompt, say), in their order.

        Args:
            seed: the same seed gives the same predictions.
        """
        encoder, kind = self.encoder("predict"), self.sample_type
        samples = [x if isinstance(x, kind) else kind(x) for x in inputs]
        return self.predict_from(encoder.collate(encoder.encode(samples)), seed)

    def predict_from(self, batch: Batch, seed: int = 0) -> list[dict[str, Any]]:
        """As `predict`, for a batch of the encoder for predictions."""
        was_training = self.training
        self.eval()
        try:
            return self._predict(batch, seed, 0)
        finally:
            self.train(was_training)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        return self._predict(batch, self.seed, batch_idx) if batch else []  # empty: no sample could be read

    def _predict(self, batch: Batch, *stream: streams.Part) -> list[dict[str, Any]]:
        eager = torch.compiler.set_stance("force_eager")  # sizes that grow by one would be compiled one by one
        with torch.inference_mode(), eager:
            return list(chain.from_iterable(recovery.in_pieces(self, "prediction", batch, self.predict_batch, *stream)))

    # Checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained and one integer for the loops; plain types only."""
        checkpoint["state_dict"] = without_frozen(self, checkpoint["state_dict"])
        checkpoint.pop("loops", None)
        checkpoint["zoo"] = {
            "task": self.name,
            "step": self.global_step,
            "steps_per_epoch": int(self.trainer.num_training_batches),
            "total_steps": self.trainer.total_steps,
            "micro_batch_size": self.micro_batch_size,
            "learned": self.learned,
            "is_whole": all(p.requires_grad for p in self.parameters()),
            "facts": self.trainer.facts(),
        }

    def load_trained(self, checkpoint: dict[str, Any]) -> None:
        """Put a checkpoint's weights (their averages, where there are any) into the network of `configure_model`."""
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict({**checkpoint["state_dict"], **checkpoint.get("averaged", {})}, strict=False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Accept a checkpoint of this network only, and put the loops where its one integer says."""
        found = checkpoint["state_dict"]
        if wrong := mismatch(self, found):
            made_by = checkpoint["zoo"]["task"]
            whose = "" if made_by == self.name else f", made by {made_by}, while the config says {self.name}"
            raise ConfigError(f"the checkpoint is of another network{whose}: {wrong}.")
        if self._trainer is not None and self.trainer.state.fn == "fit":
            state, allowed = checkpoint["zoo"], self.trainer.allowed_changes
            changed = guards.check(state["facts"], self.trainer.facts(), allowed)
            if "model.micro_batch_size" not in allowed:
                self.micro_batch_size = state["micro_batch_size"]
            per_epoch = self.trainer.count_steps_per_epoch() if changed else state["steps_per_epoch"]
            checkpoint["loops"] = {"fit_loop": loop_state(self.trainer.fit_loop, state["step"], per_epoch)}
        elif self._trainer is not None:
            checkpoint["state_dict"] = {**found, **checkpoint.get("averaged", {})}
