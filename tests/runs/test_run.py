import json
import math
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import zoo
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.files import processes
from zoo.loop import checkpoint
from zoo.runs import run

FLAGS = ["--trainer.accelerator=cpu", "--trainer.max_steps=3", "--name=fox"]


@pytest.fixture
def fit(tiny_gpt2: Path, text_file: Path, here: Path, zoo_command: Any) -> Any:
    """Train three steps in an empty working directory; flags come on top."""
    model = ["--model=zoo.CausalLM", f"--model.pretrained={tiny_gpt2}", "--model.max_length=16"]
    model += ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    data = ["--data=zoo.TextData", f"--data.train={text_file}"]

    def start(*flags: str) -> Path:
        code, said, complaint = zoo_command("fit", *model, *data, *FLAGS, *flags)
        assert (code, complaint) == (0, ""), said
        return run.find()

    return start


def test_a_run_directory_has_what_the_readme_says(fit: Any):
    folder = fit()
    there = {path.name for path in folder.iterdir()}
    assert there == {
        "config.yaml",
        "environment.json",
        "checkpoints",
        "metrics.csv",
        "metrics.json",
        "tensorboard",
        "model",
    }
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"step=3.ckpt", "last", "best"}
    assert json.loads((folder / "environment.json").read_text())["packages"]["torch"] == version("torch")
    assert json.loads((folder / "metrics.json").read_text())["fit"]["metrics"]["val/perplexity"] > 1


def test_the_saved_config_trains_the_same_run_again(fit: Any, zoo_command: Any):
    first = fit()
    assert zoo_command("fit", "--config", first / "config.yaml", "--name=again")[0] == 0
    one, two = (zoo.load(folder).state_dict() for folder in (first, run.find("again")))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_runs_are_found_by_path_name_and_number(fit: Any):
    first, second = fit(), fit()
    assert (first.name, second.name) == ("1", "2")
    assert run.find() == run.find("fox") == run.find("runs/latest") == second
    assert run.find("fox/1") == run.find("runs/fox/1") == first
    with pytest.raises(MissingInputError, match="There are fox/1, fox/2"):
        run.find("fax")


def test_a_finished_run_is_left_alone(fit: Any, zoo_command: Any):
    folder = fit()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    code, said, _ = zoo_command("fit", "--resume")
    assert code == 0
    assert "is finished" in said
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_a_resumed_run_goes_on_in_its_directory_and_ends_as_if_never_stopped(fit: Any, zoo_command: Any):
    settings = ["--trainer.max_steps=6", "--trainer.log_every_n_steps=1", "--model.dropout=0.2"]
    whole = fit(*settings)
    broken = fit(*settings, "--checkpoint.every_n_steps=2", "--checkpoint.keep=9")
    (broken / "metrics.json").unlink()
    for name in ("step=6.ckpt", "best"):
        (broken / "checkpoints" / name).unlink()
    (broken / "checkpoints" / "last").write_text("step=4.ckpt\n")
    code, _said, _ = zoo_command("fit", "--resume", broken)
    assert code == 0
    assert run.find() == broken
    assert (broken / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    one, two = (zoo.load(folder, "last").state_dict() for folder in (whole, broken))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_end_that_bends_the_rate_is_refused_with_both_rates(fit: Any, zoo_command: Any):
    folder = fit()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    code, said, complaint = zoo_command("fit", "--resume", "--trainer.max_steps=6")
    rates = [0.01 * (1 + math.cos(math.pi * 2 / total)) / 2 for total in (3, 6)]  # of the third step, step 2 from 0
    assert code == 2
    assert f"of step 3 is {rates[1]:.3g} instead of {rates[0]:.3g}" in complaint
    assert "--allow-change trainer.max_steps" in complaint
    assert "data:" not in said
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    code, said, complaint = zoo_command("fit", "--resume", "--trainer.max_steps=6", "--allow-change=trainer.max_steps")
    assert (code, complaint) == (0, "")
    assert "3 steps until now, 6 from here: the learning rate of step 3" in said


def test_another_end_is_free_where_the_rate_is_constant(fit: Any, zoo_command: Any):
    fit("--model.schedule=constant")
    code, _, complaint = zoo_command("fit", "--resume", "--trainer.max_steps=6")
    assert (code, complaint) == (0, "")
    assert run.step_of(run.checkpoint_of(run.find(), "last")) == 6


def test_early_stopping_says_that_it_ended_the_run_and_why(fit: Any, zoo_command: Any):
    config = fit() / "config.yaml"
    stopping = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    stopping += ["--trainer.callbacks.patience=2", "--trainer.val_check_interval=2", "--trainer.max_steps=9"]
    code, said, _ = zoo_command("fit", "--config", config, *stopping, "--model.optimizer.lr=0", "--name=early")
    assert code == 0
    assert (
        "Early stopping ended the run after step 6 of 9. Monitored metric val/loss did not improve in the last 2"
        in said
    )
    assert "Signaling" not in said


def test_earlier_predictions_are_kept(fit: Any, zoo_command: Any):
    folder = fit()
    for prompt in ("The fox", "The dog", "The cat"):
        code, said, _ = zoo_command("predict", "--prompt", prompt, "--model.sampling.max_new_tokens=2")
        assert code == 0
    kept = [json.loads(path.read_text())["prompt"] for path in sorted(folder.glob("predictions*.jsonl"))]
    assert kept == ["The fox", "The dog", "The cat"]
    assert f"kept: earlier predictions are in {folder}/predictions.2.jsonl" in said


def test_only_the_newest_and_the_best_checkpoints_are_kept(fit: Any):
    folder = fit("--trainer.max_steps=9", "--checkpoint.every_n_steps=1", "--checkpoint.keep=2")
    assert sorted(p.name for p in (folder / "checkpoints").glob("*.ckpt")) == ["step=8.ckpt", "step=9.ckpt"]


def test_a_checkpoint_loads_without_running_code(fit: Any):
    content = torch.load(run.checkpoint_of(fit()), weights_only=True)
    assert content["zoo"]["step"] == 3
    assert "hyper_parameters" not in content
    assert set(content["zoo"]["data_state"]) == {"tokenizer", "config", "dialogue"}


def test_a_tokenizer_of_the_training_text_comes_back_with_the_run(fit: Any, zoo_command: Any):
    architecture = "--model.architecture={model_type: gpt2, n_layer: 1, n_head: 2, n_embd: 8, n_positions: 32}"
    fit("--model.pretrained=null", architecture, "--model.vocab_size=290")
    assert len(zoo.load().tokenizer) == 290
    assert zoo_command("test", "--data.train", "null", "--data.test", fit_text())[0] == 0


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [
        ("max_length: 16", "max_length: many", r"^model\.max_length: .*'many'\.$"),
        ("max_length: 16", "max_lenght: 16", r"^unknown key model\.max_lenght\.$"),
        ("class_path: zoo.CausalLM", "class_path: gone_lab.LM", r"^model: .*gone_lab"),
    ],
)
def test_a_run_whose_config_was_changed_is_loaded_or_told_in_a_line(fit: Any, was: str, now: str, line: str):
    path = fit() / "config.yaml"
    assert path.read_text().count(was) == 1
    path.write_text(path.read_text().replace(was, now))
    with pytest.raises(ConfigError, match=line) as raised:
        zoo.load()
    assert "\n" not in str(raised.value)


def fit_text() -> str:
    Path("other.txt").write_text("Other words that were not in the training text. " * 9)
    return "other.txt"


@pytest.mark.parametrize("command", [["fit", "--resume"], ["validate"], ["test"], ["predict", "--prompt=The"]])
def test_a_run_with_the_names_of_before_is_refused_in_one_line(fit: Any, zoo_command: Any, command: list[str]):
    folder = fit()
    made = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps({"card": made["gpu"], "packages": made["packages"]}))
    (folder / "metrics.json").write_text('{"fit": {"figures": {"val/loss": 3.0}, "protocol": {"step": 3}}}')
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("\n    packing:", "\n    packed:"))
    code, _, complaint = zoo_command(*command)
    assert (code, complaint.count("\n")) == (65, 1)
    assert f"{folder} was written by a version of zoo whose names differ" in complaint
    with pytest.raises(DataError, match="names differ"):
        zoo.load()
    code, said, complaint = zoo_command("runs")
    assert (code, complaint, "of another version" in said) == (0, "", True)


def test_flags_win_over_what_the_run_saved(fit: Any, zoo_command: Any):
    folder = fit()
    assert zoo_command("test", "--model.stride=4")[0] == 0
    assert json.loads((folder / "metrics.json").read_text())["test"]["eval_settings"]["stride"] == 4


def test_every_setting_is_in_the_saved_config(fit: Any):
    saved = yaml.safe_load((fit("--model.schedule=linear") / "config.yaml").read_text())
    assert saved["model"]["init_args"]["schedule"] == "linear"
    assert saved["model"]["init_args"]["sampling"]["top_k"] == 50
    assert saved["data"]["init_args"]["validation_fraction"] == 0.1
    assert saved["seed_everything"] == 0


def test_predictions_without_a_run_use_the_pretrained_weights(tiny_gpt2: Path, here: Path, zoo_command: Any):
    Path("c.yaml").write_text(
        f"model: {{class_path: zoo.CausalLM, init_args: {{pretrained: '{tiny_gpt2}', max_length: 16, optimizer: "
        "{class_path: torch.optim.SGD, init_args: {lr: 1}}}}\n"
        "data: {class_path: zoo.TextData}\ntrainer: {max_steps: 1}\n"
    )
    Path("p.jsonl").write_text('{"text": "The fox"}\n{"text": "The dog"}\n')
    code, _, _ = zoo_command("predict", "--config=c.yaml", "--data.predict=p.jsonl", "--model.sampling.num_sequences=3")
    assert code == 0
    written = (here / "runs/c/pretrained/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["prompt"] for line in written] == ["The fox", "The dog"]
    assert all(len(json.loads(line)["continuations"]) == 3 for line in written)
    assert not Path("runs/latest").exists()


def test_a_new_run_starts_from_the_weights_of_another(fit: Any):
    fit()
    second = fit("--model.pretrained=runs/latest/model", "--trainer.max_steps=1", "--model.optimizer.lr=0.0")
    one, two = (zoo.load(folder).state_dict() for folder in (run.find("fox/1"), second))
    assert all(torch.equal(one[name], two[name]) for name in one)


DAMAGE = [
    b"",
    b"{",
    b"[]",
    b'{"fit": 3}',
    b'{"fit": {"metrics": [], "eval_settings": {}}}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_metrics_are_named_and_made_anew(fit: Any, zoo_command: Any, content: bytes):
    folder = fit()
    before = run.read_metrics(folder)
    (folder / "metrics.json").write_bytes(content)
    code, said, complaint = zoo_command("runs")
    assert (code, "runs/fox/1" in said) == (0, True)
    assert complaint.startswith("zoo: runs/fox/1/metrics.json is damaged")
    assert zoo_command("fit", "--resume")[0] == 0
    assert run.read_metrics(folder) == before


def test_one_damaged_run_hides_no_other(fit: Any, zoo_command: Any):
    fit(), fit()
    (Path("runs/fox/1") / "config.yaml").write_bytes(b"\xff[")
    (Path("runs/fox/1") / "metrics.json").write_bytes(b"{")
    (Path("runs/fox/1") / ".lock.1").mkdir()
    (Path("runs/fox/1") / ".lock.1/owner.json").write_text('{"pid": "x"}')
    Path("runs/fox/²").mkdir()
    code, said, _ = zoo_command("runs")
    assert (code, "runs/fox/1" in said, "runs/fox/2" in said) == (0, True, True)
    with pytest.raises(DataError, match=r"runs/fox/1/config.yaml is damaged"):
        zoo.load("fox/1")
    assert fit().name == "3"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"gpt2/7\n", b"/etc/passwd"])
def test_a_pointer_to_no_run_falls_back_to_the_newest_checkpoint(fit: Any, zoo_command: Any, content: bytes):
    fit(), fit()
    Path("runs/latest").unlink()
    Path("runs/latest").write_bytes(content)
    for said in ("zoo: runs/latest leads to no run with a checkpoint; runs/fox/2 has the newest one.\n", ""):
        code, _, complaint = zoo_command("validate", "--run", "runs/latest")
        assert (code, complaint) == (0, said)


def test_the_latest_run_is_the_newest_that_has_a_checkpoint(fit: Any, zoo_command: Any):
    first, second = fit(), fit()
    shutil.rmtree(second)
    Path("my_bare.py").write_text(
        "import zoo\nclass Bare(zoo.CausalLM):\n    def loss(self, batch):\n        return super().loss(batch)[0]\n"
    )
    code, _, complaint = zoo_command("fit", "--config", first / "config.yaml", "--name=fox", "--model=my_bare.Bare")
    assert (code, Path("runs/fox/2/config.yaml").is_file()) == (2, True)
    assert complaint == "zoo: Bare.loss returned a single number. Return a pair (sum, count): the sum of the loss " \
        "over its targets, and how many targets there were.\n"  # fmt: skip
    assert run.find() == run.find("runs/latest") == first
    code, said, _ = zoo_command("fit", "--resume")
    assert (code, "runs/fox/1 is finished" in said) == (0, True)


def test_where_no_run_has_a_checkpoint_and_none_was_asked_for_those_that_there_are_are_named(here: Path):
    Path("runs/fox/1").mkdir(parents=True)
    Path("runs/fox/1/config.yaml").write_text("")
    with pytest.raises(MissingInputError, match=r"no run has a checkpoint\. There are fox/1"):
        run.find()


def test_a_best_that_names_no_checkpoint_is_said(fit: Any, zoo_command: Any):
    folder = fit()
    (folder / "checkpoints/best").write_bytes(b"\xff\0")
    code, _, complaint = zoo_command("validate")
    assert (code, complaint) == (0, "zoo: best names no checkpoint; going back to step=3.ckpt.\n")


def test_a_test_that_was_killed_leaves_nothing_to_the_next(fit: Any, zoo_command: Any):
    folder = fit()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder / "test").mkdir()
    (left := folder / f"test/.confusion.csv.{processes.here()}.{dead.pid}.tmp").touch()
    assert zoo_command("validate")[0] == 0
    assert not left.exists()


def test_weights_that_give_no_finite_loss_are_no_success(fit: Any, zoo_command: Any):
    path = run.checkpoint_of(fit())
    content = checkpoint.read(path)
    for name, tensor in content["state_dict"].items():
        if name.endswith("ln_f.weight"):
            tensor.fill_(float("inf"))
    checkpoint.write(path, content)
    code, said, complaint = zoo_command("validate")
    assert (code, "loss" in said) == (65, True)
    assert "the loss on the validation data is nan" in complaint


@pytest.mark.parametrize(("loss", "words"), [("inf", "inf"), ("nan", "nan")])
def test_a_run_that_ends_with_an_infinite_loss_is_no_success(
    fit: Any, zoo_command: Any, loss: str, words: str, monkeypatch: pytest.MonkeyPatch
):
    first = fit()
    monkeypatch.setattr(zoo.CausalLM, "evaluate", lambda self, batch: (torch.tensor(float(loss)), 1))
    code, said, complaint = zoo_command("fit", "--config", first / "config.yaml", "--name=fox")
    assert (code, f"validation loss of {words}" in complaint) == (65, True)
    assert complaint.count("\n") == 1
    assert "val/loss" in said

    def refuse(name: str) -> None:
        raise ValueError(name)

    text = Path("runs/fox/2/metrics.json").read_text()
    assert json.loads(text, parse_constant=refuse)["fit"]["metrics"]["val/loss"] is None
    assert zoo_command("runs")[0] == 0


def test_a_run_can_be_without_a_progress_bar(fit: Any, zoo_command: Any):
    fit("--trainer.enable_progress_bar=false")
    code, said, complaint = zoo_command("validate", "--trainer.enable_progress_bar=false")
    assert (code, complaint, "perplexity" in said) == (0, "", True)


OWN_DATA = """
import zoo

class Lines(zoo.DataModule):
    def samples(self, split):
        return [zoo.TextSample(f"The {i}th fox jumps over lazy dogs.") for i in range(30)]
"""


def test_data_that_says_nothing_of_itself_is_not_mentioned(fit: Any, zoo_command: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, "own_data", raising=False)
    Path("own_data.py").write_text(OWN_DATA)
    fit()
    config = yaml.safe_load((run.find() / "config.yaml").read_text()) | {"data": {"class_path": "own_data.Lines"}}
    Path("c.yaml").write_text(yaml.safe_dump(config))
    code, said, complaint = zoo_command("test", "--config=c.yaml")
    assert code == 0, complaint
    assert ", weights pretrained" in said
    assert "data ," not in said
