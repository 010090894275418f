"""Two processes train, fail and evaluate as one does. Real ones, started by the command line, over gloo."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from zoo.command.lightning_cli import main
from zoo.loop import checkpoint
from zoo.runs import run

CONFIG = {
    "model": {
        "class_path": "zoo.CausalLM",
        "init_args": {
            "architecture": {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 64},
            "vocab_size": 300,
            "max_length": 16,
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}},
        },
    },
    "trainer": {"max_steps": 7, "log_every_n_steps": 1, "accelerator": "cpu"},
    "checkpoint": {"every_n_steps": 1, "keep": 100},
}
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
FAILS_ON_ONE_RANK = '''
import torch, zoo
from zoo.loop import microbatch

class Fails(zoo.CausalLM):
    """Runs out of memory in the last piece of step 3, in the second process only: its others left their gradients."""
    def loss(self, batch):
        result = super().loss(batch)
        self.seen = getattr(self, "seen", 0) + torch.is_grad_enabled()
        if self.trainer.global_rank == 1 and self.global_step == 3 and self.micro_batch_size == 3 and self.seen == 6:
            def fail(_):
                raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
            result[0].register_hook(fail)
        return result
'''

FAILS_IN_THE_STEP = '''
from pathlib import Path
import torch, zoo

class StepFails(zoo.CausalLM):
    """Runs out of memory in the middle of the optimizer's step 3, in the second process only, and only once."""
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        plain = optimizer.step
        def step(*args, **kwargs):
            if self.trainer.global_rank == 1 and self.global_step == 3 and not Path("has-failed").exists():
                Path("has-failed").touch()
                optimizer.param_groups[0]["params"][0].data.zero_()
                raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
            return plain(*args, **kwargs)
        optimizer.step = step
        return optimizer
'''

IS_KILLED = '''
import os, signal, zoo

class Killed(zoo.CausalLM):
    """The second process is killed in step 4."""
    def loss(self, batch):
        if self.trainer.global_rank == 1 and self.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch)
'''


def zoo_in_processes(*argv: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which starts further ones."""
    command = [sys.executable, "-m", "zoo", *(str(arg) for arg in argv)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)


def environment() -> dict[str, str]:
    paths = [str(Path(__file__).parent.parent.parent), str(Path.cwd())]
    hidden = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def exit_codes_of_two(*argv: Any) -> list[int]:
    """The command line in two processes that this one starts itself, as torchrun would, so that it sees both ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "zoo", *(str(arg) for arg in argv)]
    world = {"WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [subprocess.Popen(command, env=environment() | world | {"LOCAL_RANK": str(rank)}) for rank in range(2)]
    try:
        return [process.wait(timeout=150) for process in started]
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run of one process and the same run of two: runs/one/1 and runs/two/1.

    23 windows in batches of 11: 6 + 5, 6 + 5 and a last one of a single sample, which leaves the second process
    without any; 3 for the validation, in batches of 2.
    """
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "fox.txt").write_text("\n".join(f"The {i}th fox jumps over {i * i} lazy dogs." for i in range(32)))
    data = {"class_path": "zoo.TextData", "init_args": {"train": "fox.txt", "batch_size": 11, "eval_batch_size": 2}}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"data": data}))
    (folder / "failing.py").write_text(FAILS_ON_ONE_RANK)
    (folder / "failing_step.py").write_text(FAILS_IN_THE_STEP)
    (folder / "killed.py").write_text(IS_KILLED)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config=config.yaml", "--name=one"]) == 0
        done = zoo_in_processes("fit", "--config=config.yaml", "--name=two", *TWO)
        assert done.returncode == 0, done.stderr
        yield folder
    finally:
        os.chdir(before)


def rows(folder: Path, name: str) -> list[dict[str, float]]:
    with open(folder / f"runs/{name}/1/metrics.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def weights(folder: Path, name: str, step: int) -> torch.Tensor:
    content = checkpoint.read(folder / f"runs/{name}/1/checkpoints/step={step}.ckpt")
    return torch.cat([tensor.flatten().float() for tensor in content["state_dict"].values()])


def test_two_processes_have_the_losses_and_weights_of_one(folder: Path):
    one, two = rows(folder, "one"), rows(folder, "two")
    for row in [*one, *two]:
        row.pop("train/micro_batch_size", None)  # each process has its own share in it
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        assert list(mine.values()) == pytest.approx(list(theirs.values()), rel=1e-4)
    assert torch.allclose(weights(folder, "one", 7), weights(folder, "two", 7), atol=1e-5)
    assert (weights(folder, "one", 7) - weights(folder, "one", 1)).abs().max() > 1e-2


def test_two_processes_make_one_run_directory(folder: Path):
    assert [path.name for path in (folder / "runs/two").iterdir()] == ["1"]


def test_out_of_memory_in_the_last_piece_of_one_process_makes_both_replay_with_the_same_size(folder: Path):
    done = zoo_in_processes(
        "fit", "--config=config.yaml", "--model=failing.Fails", "--model.micro_batch_size=3", "--name=failed", *TWO
    )
    assert done.returncode == 0, done.stderr
    assert "step 4: training with 3 samples at a time: CUDA out of memory" in done.stdout
    assert [row["train/micro_batch_size"] for row in rows(folder, "failed") if "train/loss" in row][3] == 2
    assert torch.allclose(weights(folder, "one", 7), weights(folder, "failed", 7), atol=1e-5)


def test_out_of_memory_in_the_optimizers_step_of_one_process_ends_both_and_a_resumed_run_is_as_undisturbed(
    folder: Path,
):
    settings = ["--config=config.yaml", "--model=failing_step.StepFails", "--name=halfway", *TWO]
    assert exit_codes_of_two("fit", *settings) == [71, 71]
    assert checkpoint.read(folder / "runs/halfway/1/checkpoints/step=3.ckpt")["zoo"]["step"] == 3
    assert not (folder / "runs/halfway/1/checkpoints/step=4.ckpt").exists()
    assert torch.equal(weights(folder, "halfway", 3), weights(folder, "two", 3))
    assert exit_codes_of_two("fit", "--resume=runs/halfway/1") == [0, 0]
    assert torch.equal(weights(folder, "halfway", 7), weights(folder, "two", 7))


def test_a_process_that_was_killed_is_one_line_with_the_command_to_go_on(folder: Path):
    done = zoo_in_processes("fit", "--config=config.yaml", "--model=killed.Killed", "--name=killed", *TWO)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Initializing") and line]
    assert lines == [
        "zoo: another process of this run has gone at step 4. Go on with: uv run zoo fit --resume runs/killed/1"
    ]
    assert done.returncode == 69


def test_no_sample_is_scored_twice_in_a_test_with_two_processes(folder: Path):
    assert main(["test", "--run=one"]) == 0
    by_one = run.read_metrics(folder / "runs/one/1")["test"]["metrics"]
    done = zoo_in_processes("test", "--run=one", *TWO)
    assert done.returncode == 0, done.stderr
    assert run.read_metrics(folder / "runs/one/1")["test"]["metrics"] == pytest.approx(by_one, rel=1e-6)


def test_two_processes_train_on_images_as_one_does(folder: Path):
    network = {"name": "vit_tiny_patch16_224", "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
    flags = ["fit", "--model=zoo.ImageClassification", f"--model.architecture={network}", "--model.image_size=8"]
    flags += [
        "--model.augmentation={scale: 0.5, random_erasing: 0.5, label_smoothing: 0.1}",
        "--model.optimizer=torch.optim.SGD",
    ]
    flags += ["--model.optimizer.lr=0.5", "--data=zoo.ImageData", "--data.train=python:sklearn.datasets.load_digits"]
    flags += ["--data.limit=23", "--data.validation_fraction=0.02", "--data.batch_size=11", "--data.num_workers=0"]
    flags += ["--trainer.max_steps=5", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1"]
    assert main([*flags, "--name=images"]) == 0
    done = zoo_in_processes(*flags, "--name=images_of_two", *TWO)
    assert done.returncode == 0, done.stderr
    one, two = rows(folder, "images"), rows(folder, "images_of_two")
    for row in [*one, *two]:
        row.pop("train/micro_batch_size", None)
    assert [list(row.values()) for row in two] == [pytest.approx(list(row.values()), rel=1e-3) for row in one]
    assert torch.allclose(weights(folder, "images", 5), weights(folder, "images_of_two", 5), atol=1e-5)
