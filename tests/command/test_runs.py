"""zoo runs: listed with their steps, sorted, compared, removed."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.files import paths
from zoo.runs import run
from zoo.runs.lock import Lock

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "model": {
        "class_path": "zoo.CausalLM",
        "init_args": {"max_length": 64, "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001}}},
    },
    "data": {"class_path": "zoo.TextData", "init_args": {"train": "my.txt", "batch_size": 8}},
    "trainer": {"max_epochs": 3},
}


@pytest.fixture
def runs(here: Path) -> Path:
    """gpt2/1 and gpt2/2, which differ in rate and accuracy, and vit/1, which has none."""
    for name, lr, accuracy in (("gpt2/1", 0.001, 0.9), ("gpt2/2", 0.002, 0.7), ("vit/1", 0.001, None)):
        folder = here / "runs" / name
        (folder / "checkpoints").mkdir(parents=True)
        config = yaml.safe_load(yaml.safe_dump(CONFIG))
        config["model"]["init_args"]["optimizer"]["init_args"]["lr"] = lr
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "environment.json").write_text(json.dumps({"format": run.FORMAT}))
        for step in (20, 30):
            (folder / "checkpoints" / f"step={step}.ckpt").touch()
        paths.point(folder / "checkpoints" / "best", folder / "checkpoints" / "step=20.ckpt")
        metrics = {"loss": 2.0} | ({} if accuracy is None else {"accuracy": accuracy})
        run.write_metrics(folder, "test", {"metrics": metrics, "eval_settings": {"image size": 64}})
    run.make_latest(Path("runs/gpt2/2"))
    return here / "runs"


def listed(said: str) -> list[str]:
    return [line.split()[0] for line in said.splitlines()[1:]]


def test_the_last_and_the_best_step_are_shown(runs: Path, zoo_command: Any):
    header, *rows = zoo_command("runs")[1].splitlines()
    assert [row[header.index("last step") :].split()[:2] for row in rows] == 3 * [["30", "20"]]


def test_runs_are_sorted_by_a_metric_with_those_that_lack_it_first(runs: Path, zoo_command: Any):
    code, said, _ = zoo_command("runs", "--sort", "accuracy")
    assert (code, listed(said)) == (0, ["runs/vit/1", "runs/gpt2/2", "runs/gpt2/1"])
    assert "test: accuracy 0.7" in said.splitlines()[2]
    assert listed(zoo_command("runs", "gpt2", "--sort=accuracy")[1]) == ["runs/gpt2/2", "runs/gpt2/1"]


def test_a_metric_that_no_run_has_is_told_with_those_that_there_are(runs: Path, zoo_command: Any):
    code, _, complaint = zoo_command("runs", "--sort", "acuracy")
    assert code == 2
    assert complaint == "zoo: no run has acuracy; did you mean accuracy? There are accuracy, loss.\n"


def test_compared_are_the_settings_that_differ_and_all_metrics(runs: Path, zoo_command: Any):
    code, said, _ = zoo_command("runs", "compare", "gpt2/1", "gpt2/2")
    rows = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in said.splitlines() if line}
    assert code == 0
    assert rows["model.optimizer.lr"] == ["0.001", "0.002"]
    assert rows["test: accuracy"] == ["0.9", "0.7"]
    assert rows["test, measured: image size"] == ["64", "64"]
    assert not [key for key in rows if key.startswith(("data.", "trainer.", "model.max_length"))]


def test_runs_of_the_same_settings_are_told_so(runs: Path, zoo_command: Any):
    code, said, _ = zoo_command("runs", "compare", "gpt2/1", "vit/1")
    assert (code, said.splitlines()[0]) == (0, "all settings are the same.")
    assert [line.split()[-2:] for line in said.splitlines() if line.startswith("test: accuracy")] == [["0.9", "–"]]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["compare", "gpt2/1"], 2, "takes two runs or more"),
        (["compare", "gpt2/1", "gpt3"], 66, "no such run"),
        (["remove"], 2, "takes runs"),
        (["remove", "--all"], 2, "takes runs"),
        (["remove", "gpt3", "--yes"], 66, "no such run"),
        (["remove", "gpt2", "--yes"], 2, r"there are several (runs/gpt2/1, runs/gpt2/2). Name them with their numbers"),
        (["remove", "gpt2/1"], 2, "Add --yes"),
        (["--sort"], 2, "--sort needs a value"),
        (["--best"], 2, "found '--best'"),
    ],
)
def test_a_mistake_removes_nothing_and_is_told_in_a_line(
    runs: Path, zoo_command: Any, argv: list[str], code: int, said: str
):
    before = sorted(runs.rglob("*"))
    found, _, complaint = zoo_command("runs", *argv)
    assert (found, complaint.count("\n")) == (code, 1)
    assert said in complaint
    assert sorted(runs.rglob("*")) == before


def test_removed_are_the_runs_that_were_named_and_no_other(runs: Path, zoo_command: Any):
    code, said, _ = zoo_command("runs", "remove", "gpt2/1", "vit", "--yes")
    assert (code, said.splitlines()[-2:]) == (0, ["removed: runs/gpt2/1", "removed: runs/vit/1"])
    assert sorted(path.relative_to(runs).as_posix() for path in runs.glob("*/*")) == [
        "gpt2/2",
        "latest/checkpoints",
    ] + [f"latest/{path.name}" for path in sorted((runs / "gpt2/2").glob("*.*"))]
    assert not [path for path in runs.iterdir() if path.name not in ("gpt2", "latest")]


def test_when_the_latest_run_is_removed_the_newest_other_one_is(runs: Path, zoo_command: Any):
    os.utime(runs / "vit/1/checkpoints/step=30.ckpt")
    assert zoo_command("runs", "remove", "latest", "--yes")[0] == 0
    assert not (runs / "gpt2/2").exists()
    assert run.find() == Path("runs/vit/1")
    assert zoo_command("runs", "remove", "gpt2/1", "vit/1", "--yes")[0] == 0
    assert [*runs.iterdir()] == []


def test_a_run_in_use_is_not_removed(runs: Path, zoo_command: Any):
    lock = Lock(Path("runs/gpt2/1"))
    try:
        code, _, complaint = zoo_command("runs", "remove", "gpt2/1", "--yes")
    finally:
        lock.release()
    assert code == 75
    assert "in use by PID" in complaint
    assert (runs / "gpt2/1/config.yaml").is_file()


@pytest.mark.parametrize(
    ("answer", "is_there"), [("y", False), ("yes", False), ("", True), ("n", True), ("gpt2", True)]
)
def test_who_is_there_is_asked_first(
    runs: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch, answer: str, is_there: bool
):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    code, said, _ = zoo_command("runs", "remove", "gpt2/1")
    assert (code, (runs / "gpt2/1").exists()) == (0, is_there)
    assert "runs/gpt2/1  zoo.CausalLM" in said


def test_a_run_of_another_version_can_be_removed(runs: Path, zoo_command: Any):
    (runs / "gpt2/1/environment.json").write_text("{}")
    assert zoo_command("runs", "remove", "gpt2/1", "--yes")[0] == 0
    assert not (runs / "gpt2/1").exists()


def test_what_a_kill_left_of_a_removal_is_swept(runs: Path, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths.processes, "is_alive", lambda number: False)
    left = runs / f".gpt2.1.{paths.processes.here()}.999999.tmp"
    (runs / "gpt2/1").rename(left)
    run.tidy(runs / "gpt2/2")
    assert not left.exists()
