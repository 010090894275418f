from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from contract_cases import ADAMW, trainer
from torch import nn
from toy import Toy, ToyData

import zoo
from zoo.errors import ConfigError
from zoo.loop import microbatch
from zoo.loop.written import need


@pytest.mark.parametrize(
    ("hook", "instead"),
    [
        ("optimizer_step", "on_before_optimizer_step"),
        ("configure_gradient_clipping", "trainer.gradient_clip_val"),
        ("lr_scheduler_step", "model.schedule"),
        ("optimizer_zero_grad", "on_train_batch_start"),
    ],
)
def test_a_hook_that_would_never_be_called_is_refused_when_the_class_is_written(hook: str, instead: str):
    with pytest.raises(ConfigError, match=f"Mine.{hook} would never be called.*{instead}"):
        type("Mine", (zoo.CausalLM,), {hook: lambda self: None})


def test_making_a_task_loads_and_builds_nothing():
    task = zoo.CausalLM(pretrained="no/such-model", optimizer=ADAMW)
    assert list(task.parameters()) == []


def test_a_loss_of_several_pairs_is_logged_by_name_and_trains(tiny_gpt2: Path, text_file: Path):
    class Two(zoo.CausalLM):
        def loss(self, batch: dict[str, Any]) -> Any:
            total, count = super().loss(batch)
            scale = sum((p**2).sum() for p in self.parameters())
            return {"tokens": (total, count), "decay": (scale * len(batch["targets"]), len(batch["targets"]))}

        def count_targets(self, batch: dict[str, Any]) -> Any:
            return {"tokens": (batch["targets"] != -100).sum(), "decay": torch.tensor(len(batch["targets"]))}

        def compute_metrics(self, means: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
            return {"loss": means["tokens"], "decay": means["decay"]}

    def logged(size: int | None) -> dict[str, float]:
        task = Two(pretrained=str(tiny_gpt2), max_length=16, micro_batch_size=size, optimizer=ADAMW)
        t = trainer(1, limit_val_batches=0)
        t.fit(task, datamodule=zoo.TextData(train=str(text_file)))
        return {name: float(t.callback_metrics[f"train/{name}"]) for name in ("loss", "tokens", "decay", "grad_norm")}

    whole, pieces = logged(None), logged(3)
    assert whole["loss"] == pytest.approx(whole["tokens"] + whole["decay"])
    assert pieces == pytest.approx(whole, rel=1e-5)


def test_the_learning_rate_is_a_function_of_the_step(tiny_gpt2: Path):
    task = zoo.CausalLM(pretrained="x", warmup_steps=0.1, schedule="linear", optimizer=ADAMW)
    assert [task.lr_factor(step, 100) for step in (0, 9, 55, 99)] == pytest.approx([0.1, 1.0, 0.5, 1 / 90])


def test_an_optimizer_that_refuses_its_settings_is_one_line():
    task = Toy([nn.Linear(3, 1)], optimizer=lambda groups: torch.optim.AdamW(groups, betas=(2.0, 0.9)))
    with pytest.raises(ConfigError, match=r"model.optimizer: Invalid beta parameter at index 0: 2.0"):
        task.configure_optimizers()


NO_PAIRS: dict[str, tuple[Any, str]] = {
    "a number": (lambda total, count: total / count, "a single number"),
    "a mean of floats": (lambda total, count: 0.5, "a single number"),
    "losses": (lambda total, count: total.repeat(3), "a tensor of shape [3]"),
    "three": (lambda total, count: (total, count, {}), "a tuple of 3 values"),
    "nothing": (lambda total, count: None, "None"),
    "no tensor": (lambda total, count: (1.0, count), "(a single number, a single number)"),
    "no count": (lambda total, count: (total, None), "(a single number, None)"),
    "targets": (lambda total, count: (total, total.repeat(2)), "(a single number, a tensor of shape [2])"),
    "a count of 0": (lambda total, count: (total, 0), "a count of 0"),
    "a name": (lambda total, count: {"loss": (total, count), "other": total}, "other: a single number"),
}


@pytest.mark.parametrize("what", NO_PAIRS)
@pytest.mark.parametrize("how", ["fit", "validate"])
def test_a_loss_that_is_no_pair_is_named_in_one_line(what: str, how: str):
    returned, described = NO_PAIRS[what]

    class Bare(Toy):
        def loss(self, batch: dict[str, Any]) -> Any:
            return returned(*super().loss(batch))

        def count_targets(self, batch: dict[str, Any]) -> Any:
            return {"loss": torch.tensor(8), "other": torch.tensor(8)}

    with pytest.raises(ConfigError) as caught:
        getattr(trainer(1), how)(Bare([nn.Linear(3, 1)]), datamodule=ToyData(validation_fraction=0.5))
    said = f"Bare.loss returned {described}. Return a pair (sum, count)"
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_without_any_target_is_a_pair_of_zeros():
    assert microbatch.named((torch.zeros(()), 0))["loss"][1] == 0


def test_what_a_task_has_not_written_is_named_before_it_is_needed():
    task = Toy([nn.Linear(3, 1)])
    with pytest.raises(ConfigError, match=r"toy.Toy has no predict_batch\(\).* Write predict_batch\(self, batch\)"):
        task.predict([1])
    with pytest.raises(ConfigError, match=r"toy.Toy has no predict_batch\(\).* Write predict_batch\(self, batch\)"):
        need(task, "processor", "loss", "save_model", "predict_batch")


@pytest.mark.parametrize("how", ["fit", "validate", "test", "predict"])
def test_a_plain_trainer_is_refused_in_a_line_that_names_ours(how: str):
    plain = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1)
    with pytest.raises(ConfigError, match=r"needs zoo\.Trainer\. Use that one\.$"):
        getattr(plain, how)(Toy([nn.Linear(3, 1)]), datamodule=ToyData())
