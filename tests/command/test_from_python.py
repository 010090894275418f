"""zoo.fit and zoo.test do what the command line does."""

import functools
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

import zoo
from zoo.command.settings import shipped
from zoo.errors import ConfigError, MissingInputError, UserError
from zoo.runs import run

ADAMW = functools.partial(torch.optim.AdamW, lr=0.01)
SHORT: dict[str, Any] = {"max_steps": 4, "accelerator": "cpu", "limit_val_batches": 2, "log_every_n_steps": 1}


@pytest.fixture
def objects(tiny_gpt2: Path, few_lines: Path, here: Path) -> Any:
    """Makes a task and its data, in an empty working directory."""

    def make(**settings: Any) -> tuple[zoo.CausalLM, zoo.TextData]:
        task = zoo.CausalLM(pretrained=str(tiny_gpt2), **{"max_length": 16, "optimizer": ADAMW, **settings})
        return task, zoo.TextData(train=str(few_lines), batch_size=4)

    return make


def weights(folder: Any, which: str = "best") -> dict[str, torch.Tensor]:
    return zoo.load(folder, which).state_dict()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def flags(tiny_gpt2: Path, few_lines: Path) -> list[str]:
    model = ["--model=zoo.CausalLM", f"--model.pretrained={tiny_gpt2}", "--model.max_length=16"]
    model += ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    data = ["--data=zoo.TextData", f"--data.train={few_lines}", "--data.batch_size=4"]
    return [*model, *data, *(f"--trainer.{name}={value}" for name, value in SHORT.items())]


def test_a_run_is_the_same_from_python_and_from_the_command_line(
    objects: Any, tiny_gpt2: Path, few_lines: Path, zoo_command: Any
):
    ours = zoo.fit(*objects(), name="one", **SHORT)
    assert zoo_command("fit", "--name=two", *flags(tiny_gpt2, few_lines))[0] == 0
    theirs = run.find("two")
    for name in ("config.yaml", "metrics.csv", "metrics.json"):
        assert (ours.folder / name).read_text() == (theirs / name).read_text()
    assert {p.name for p in ours.folder.rglob("*")} >= {p.name for p in theirs.rglob("*") if "tfevents" not in p.name}
    assert same(weights(ours), weights(theirs))
    assert ours.metrics["val/loss"] == json.loads((theirs / "metrics.json").read_text())["fit"]["metrics"]["val/loss"]


def test_a_second_training_in_the_process_gives_the_same_run(objects: Any):
    first, second = (zoo.fit(*objects(dropout=0.1), **SHORT) for _ in range(2))
    assert (first.folder.name, second.folder.name) == ("1", "2")
    assert (first.folder / "metrics.csv").read_text() == (second.folder / "metrics.csv").read_text()


def test_the_task_that_was_given_holds_the_best_weights(objects: Any):
    task, data = objects()
    done = zoo.fit(task, data, **SHORT)
    assert done.task is task
    assert same(task.state_dict(), weights(done))
    greedy = {"temperature": 0, "max_new_tokens": 5}
    assert task.predict("The fox", **greedy) == zoo.load(done).predict("The fox", **greedy)


def test_a_task_that_holds_weights_starts_no_new_run(objects: Any):
    task, data = objects()
    done = zoo.fit(task, data, **SHORT)
    for held in (task, zoo.load(done)):
        with pytest.raises(ConfigError, match=r"holds the weights of runs/run/1.*zoo\.fit\(resume='runs/run/1'\)"):
            zoo.fit(held, data, **SHORT)


def test_a_training_that_fails_leaves_the_task_as_it_was(objects: Any, few_lines: Path):
    task, data = objects()
    with pytest.raises(ConfigError, match="checkpoint.monitor is val/nothing"):
        zoo.fit(task, data, checkpoint={"monitor": "val/nothing"}, **SHORT)
    assert same(weights(zoo.fit(task, data, **SHORT)), weights(zoo.fit(*objects(), **SHORT)))


def test_a_config_takes_settings_by_their_names_on_the_command_line(tiny_gpt2: Path, few_lines: Path, here: Path):
    settings = {"data.train": few_lines, "model.pretrained": tiny_gpt2, "data.batch_size": 4, "model.max_length": 16}
    done = zoo.fit("gpt2_finetune", **SHORT, **settings)
    saved = yaml.safe_load((done.folder / "config.yaml").read_text())
    assert done.folder == Path("runs/gpt2_finetune/1")
    assert saved["data"]["init_args"]["train"] == str(few_lines)
    assert (saved["trainer"]["max_steps"], saved["model"]["init_args"]["optimizer"]["init_args"]["lr"]) == (4, 5e-5)


def test_several_configs_lie_one_on_top_of_the_other(objects: Any):
    _, data = objects()
    architecture = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 16}
    small = {"model.architecture": architecture, "model.vocab_size": 300, "model.max_length": 16}
    done = zoo.fit(["quickstart", "overlays/early_stopping"], data, **SHORT, **small)
    saved = yaml.safe_load((done.folder / "config.yaml").read_text())
    assert [one["class_path"].rpartition(".")[2] for one in saved["trainer"]["callbacks"]] == [
        "TrigramBaseline",
        "EarlyStopping",
    ]
    assert saved["model"]["init_args"]["architecture"] == architecture


def test_callbacks_are_objects_of_zoo_or_class_paths(objects: Any):
    callbacks = [zoo.EMA(decay=0.5), {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss"}}]
    done = zoo.fit(*objects(), callbacks=callbacks, **SHORT)
    ema, stopping = yaml.safe_load((done.folder / "config.yaml").read_text())["trainer"]["callbacks"]
    assert ema == {"class_path": "zoo.EMA", "init_args": {"decay": 0.5}}
    assert stopping["init_args"]["monitor"] == "val/loss"
    assert "averaged" in torch.load(run.checkpoint_of(done.folder), weights_only=True)


OWN = """
import zoo

class Mine(zoo.CausalLM):
    def __init__(self, gamma: float = 2.0, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma
"""


def test_a_run_of_a_task_of_ones_own_goes_on_on_the_command_line(
    objects: Any, tiny_gpt2: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    Path("own_lm.py").write_text(OWN)
    monkeypatch.syspath_prepend(".")
    import own_lm  # type: ignore[import-not-found]

    mine = own_lm.Mine(np.float64(1.5), pretrained=str(tiny_gpt2), max_length=16, optimizer=ADAMW, schedule="constant")
    done = zoo.fit(mine, objects()[1], **SHORT)
    assert zoo_command("test", "--run", done.folder)[0] == 0
    assert zoo_command("fit", "--resume", done.folder, "--trainer.max_steps=6")[0] == 0
    assert zoo.load(done, "last").gamma == 1.5
    assert run.step_of(run.checkpoint_of(done.folder, "last")) == 6


SCRIPT = """
import sys
import zoo
{own}
task = Mine(gamma=3.0, pretrained=sys.argv[1], max_length=16)
data = zoo.TextData(train=sys.argv[2], batch_size=4)
done = zoo.fit(task, data, max_steps=2, accelerator="cpu", limit_val_batches=2)
again = zoo.fit(resume=done, max_steps=3, allow_change=["trainer.max_steps"])
print("gamma", zoo.load(again).gamma, "loss", zoo.test(again).metrics["loss"] > 0)
"""


def test_a_script_may_define_its_task_and_the_command_line_says_why_it_cannot_use_it(
    tiny_gpt2: Path, few_lines: Path, here: Path, zoo_command: Any
):
    Path("train.py").write_text(SCRIPT.format(own=OWN))
    command = [sys.executable, "train.py", str(tiny_gpt2), str(few_lines)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gamma 3.0 loss True" in done.stdout
    assert "Mine is defined in this script or notebook" in done.stdout
    assert not Path("lightning_logs").exists()
    code, _, complaint = zoo_command("test")
    assert code == 2
    assert "__main__.Mine" in complaint
    assert "--model my_lab.Mine" in complaint


def test_lightning_does_not_chatter_and_leaves_nothing_behind(objects: Any, capfd: pytest.CaptureFixture[str]):
    zoo.fit(*objects(), **SHORT)
    said = capfd.readouterr()
    assert said.err == ""
    assert not [word for word in ("TPU", "Tip", "💡", "Trainer.fit", "seed set") if word in said.out]
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_the_random_state_of_the_process_is_left_alone(objects: Any):
    torch.manual_seed(5)
    random.seed(5)
    before = torch.rand(1), random.random()
    torch.manual_seed(5)
    random.seed(5)
    zoo.fit(*objects(), **SHORT)
    assert (torch.rand(1), random.random()) == before


# Test -----------------------------------------------------------------------------------------------------------


def test_a_run_is_measured_by_name_object_or_the_task_that_holds_it(objects: Any, zoo_command: Any):
    task, data = objects()
    done = zoo.fit(task, data, name="fox", **SHORT)
    by_name, by_run, by_task = zoo.test("fox"), zoo.test(done), zoo.test(task, data, accelerator="cpu")
    assert by_name.metrics == by_run.metrics == by_task.metrics
    assert by_task.task is task
    assert {one.folder for one in (by_name, by_run, by_task)} == {Path("runs/fox/1")}
    assert zoo_command("test", "--run=fox")[0] == 0
    kept = json.loads(Path("runs/fox/1/metrics.json").read_text())["test"]["metrics"]
    assert kept == by_name.metrics


def test_the_weights_that_a_task_holds_are_those_that_are_measured(objects: Any):
    task, data = objects()
    zoo.fit(task, data, **SHORT)
    before = zoo.test(task, data, accelerator="cpu").metrics["loss"]
    with torch.no_grad():
        for p in task.network.parameters():
            p.mul_(0.5)
    assert zoo.test(task, data, accelerator="cpu").metrics["loss"] != before
    kept = json.loads(Path("runs/run/1/metrics.json").read_text())
    assert kept["test"]["eval_settings"]["weights"] == "in memory, of runs/run/1"


def test_without_a_run_the_pretrained_weights_are_measured(objects: Any):
    done = zoo.test(*objects(), accelerator="cpu")
    assert done.folder == Path("runs/run/pretrained")
    assert done.metrics["perplexity"] > 1


# Stopping -------------------------------------------------------------------------------------------------------


STOPPING = """
import signal
from lightning.pytorch import Callback

class Interrupt(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 2:
            signal.raise_signal(signal.SIGINT)
"""


def test_an_interrupted_training_is_saved_and_goes_on_where_it_was(objects: Any, monkeypatch: pytest.MonkeyPatch):
    Path("stopping.py").write_text(STOPPING)
    monkeypatch.syspath_prepend(".")
    whole = zoo.fit(*objects(), name="whole", **SHORT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"after step 2"):
        zoo.fit(*objects(), name="broken", callbacks=["stopping.Interrupt"], **SHORT)
    assert signal.getsignal(signal.SIGINT) is before
    done = zoo.fit(resume=True, callbacks=None)
    assert same(weights(done, "last"), weights(whole, "last"))


def test_a_second_interrupt_does_not_end_the_process():
    from zoo.runs.signals import Signals

    with Signals(ends_process=False) as signals, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        signals.deferred = True
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


# Mistakes -------------------------------------------------------------------------------------------------------


class Foreign(Callback):
    def __init__(self, patience: int):
        self.patience = patience


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"max_step": 1}, r"^unknown argument max_step; did you mean max_steps\?$"),
    "another section": ({"vocab_size": 1}, r"^unknown argument vocab_size; did you mean model.vocab_size\?$"),
    "another library's name": ({"epochs": 1}, r"^unknown argument epochs; it is trainer.max_epochs\.$"),
    "a value": ({"max_steps": "many"}, r"^trainer.max_steps is 'many' in Python; expected a whole number"),
    "two at once": (
        {"max_steps": "many", "data.batch_size": 0},
        r"(?s)data.batch_size is 0.*\n.*max_steps|max_steps.*\n",
    ),
    "a callback of others": (
        {"callbacks": [EarlyStopping("val/loss")]},
        r"callbacks\[0\] is an object of EarlyStopping.*'lightning.pytorch.callbacks.EarlyStopping', 'init_args'",
    ),
    "no end": ({"max_steps": -1}, r"neither trainer.max_epochs nor trainer.max_steps is set"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_of_zoo_in_a_line(objects: Any, mistake: str):
    settings, said = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=said):
        zoo.fit(*objects(), **{**SHORT, **settings})
    assert not Path("runs").exists()


def test_what_a_config_cannot_hold_is_refused_with_what_to_do(objects: Any):
    with pytest.raises(ConfigError, match=r"model.optimizer is a lambda.*functools.partial"):
        zoo.fit(*objects(optimizer=lambda groups: torch.optim.SGD(groups, lr=1)), **SHORT)

    class Inside(zoo.CausalLM):
        pass

    with pytest.raises(ConfigError, match=r"model is Inside, which is defined inside a function"):
        zoo.fit(Inside(pretrained="x"), objects()[1], **SHORT)


def test_a_class_that_was_defined_anew_is_not_taken_for_the_old_one(objects: Any, monkeypatch: pytest.MonkeyPatch):
    task, data = objects()
    monkeypatch.setattr("zoo.tasks.causal_lm.CausalLM", type("CausalLM", (zoo.CausalLM,), {}))
    with pytest.raises(ConfigError, match="it has been defined anew"):
        zoo.fit(task, data, **SHORT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((zoo.CausalLM,), r"the task is the class CausalLM; make one: CausalLM\(…\)"),
        ((torch.nn.Linear(1, 1),), "expected a task of zoo"),
        (("nothere",), "no such file"),
        (("quickstart", [1, 2]), r"data is a list; expected a data module, as zoo.TextData"),
    ],
)
def test_what_is_no_task_no_config_or_no_data_is_told_so(here: Path, wrong: tuple[Any, ...], said: str):
    with pytest.raises(UserError, match=said):
        zoo.fit(*wrong)


def test_a_run_that_is_not_there_is_told_so(here: Path):
    with pytest.raises(MissingInputError, match="no such run"):
        zoo.test("nothere")


def test_an_error_shows_no_inner_workings(objects: Any):
    with pytest.raises(ConfigError) as caught:
        zoo.fit(*objects(), max_step=1)
    assert len(caught.traceback) <= 3
    assert caught.value.__suppress_context__


# The optimizer where none is set --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "config"),
    [
        (zoo.CausalLM(pretrained="x"), "gpt2_finetune"),
        (zoo.CausalLM(architecture={"model_type": "gpt2"}, vocab_size=300), "gpt2_scratch"),
        (zoo.ImageClassification(pretrained="x"), "vit_finetune"),
        (zoo.ImageClassification(architecture="resnet18"), "quickstart_vision"),
    ],
)
def test_without_an_optimizer_a_task_takes_that_of_its_shipped_config(task: zoo.Task, config: str):
    chosen = yaml.safe_load(shipped.find(config)[0].read_text("utf-8"))["model"]["init_args"]["optimizer"]
    made = task.usual_optimizer()
    assert f"torch.optim.{made.func.__name__}" == chosen["class_path"]
    assert {name: [*v] if isinstance(v, tuple) else v for name, v in made.keywords.items()} == chosen["init_args"]


def test_the_optimizer_that_is_taken_is_said(objects: Any, capsys: pytest.CaptureFixture[str]):
    zoo.fit(*objects(optimizer=None), **SHORT)
    assert "optimizer: AdamW, lr 5e-05, as model.optimizer is not set" in capsys.readouterr().out
