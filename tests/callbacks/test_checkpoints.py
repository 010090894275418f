from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from contract_cases import trainer

from zoo.callbacks.checkpoints import Checkpoints
from zoo.errors import ConfigError, NoRoomError, OutputError
from zoo.files.paths import follow
from zoo.loop.optim import state_bytes


class FakeTrainer(SimpleNamespace):
    """What the callback asks of a trainer; saving writes the step into the file."""

    def __init__(self) -> None:
        super().__init__(global_step=0, sanity_checking=False, is_global_zero=True, world_size=1, loggers=[])
        self.state = SimpleNamespace(fn="fit")
        self.callback_metrics: dict[str, Any] = {}

    def save_checkpoint(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(self.global_step))


MODULE = SimpleNamespace(last_metrics={})


def run(values: list[float], folder: Path, **settings: Any) -> Checkpoints:
    """Validate after each step, with these metrics."""
    callback, trainer = Checkpoints(every_n_minutes=None, **settings), FakeTrainer()
    callback.folder = folder
    callback.on_train_start(trainer, MODULE)
    for value in values:
        callback.on_train_batch_start(trainer)
        trainer.global_step += 1
        trainer.callback_metrics = {"val/loss": value}
        callback.on_validation_end(trainer, MODULE)
    callback.on_train_end(trainer, MODULE)
    return callback


def kept(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("=")[2]) for path in folder.glob("*.ckpt"))


def test_the_newest_and_the_best_are_kept(tmp_path: Path):
    run([3, 1, 2, 4, 5], tmp_path)
    assert kept(tmp_path) == [2, 4, 5]
    assert follow(tmp_path / "best").name == "step=2.ckpt"
    assert follow(tmp_path / "last").name == "step=5.ckpt"


def test_the_largest_is_best_where_the_mode_says_so(tmp_path: Path):
    assert run([3, 1, 4, 2], tmp_path, mode="max").best == 4
    assert follow(tmp_path / "best").name == "step=3.ckpt"


def test_a_metric_that_is_no_number_is_never_best(tmp_path: Path):
    assert run([float("nan"), 5, float("nan")], tmp_path).best == 5


def test_what_was_best_is_known_after_a_resume(tmp_path: Path):
    again = Checkpoints()
    again.load_state_dict(run([3, 1, 2], tmp_path).state_dict())
    assert (again.best, again.best_step) == (1, 2)


def test_a_monitor_that_nothing_logs_names_what_is_logged(tmp_path: Path):
    with pytest.raises(ConfigError, match="checkpoint.monitor is val/acc, but the validation logs val/loss"):
        run([1], tmp_path, monitor="val/acc")


def test_saves_between_validations_come_every_so_many_steps(tmp_path: Path):
    callback, trainer = Checkpoints(every_n_minutes=None, every_n_steps=3, keep=99), FakeTrainer()
    callback.folder = tmp_path
    callback.on_train_start(trainer, MODULE)
    for _ in range(10):
        callback.on_train_batch_start(trainer)
        trainer.global_step += 1
    callback.on_train_end(trainer, MODULE)
    assert kept(tmp_path) == [3, 6, 9, 10]


# A full disk ------------------------------------------------------------------------------------------------------


class FullTrainer(FakeTrainer):
    """Its disk is full at these steps."""

    def __init__(self, *full: int) -> None:
        super().__init__()
        self.full = full

    def save_checkpoint(self, path: Path) -> None:
        if self.global_step in self.full:
            raise OSError(28, "No space left on device")
        super().save_checkpoint(path)


def saving_every_step(folder: Path, trainer: FullTrainer, steps: int) -> None:
    callback = Checkpoints(every_n_minutes=None, every_n_steps=1)
    callback.folder = folder
    callback.on_train_start(trainer, MODULE)
    for _ in range(steps):
        callback.on_train_batch_start(trainer)
        trainer.global_step += 1
    callback.on_train_end(trainer, MODULE)


def test_a_save_that_fails_is_told_and_tried_again_at_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    saving_every_step(tmp_path, FullTrainer(3, 4), 6)
    assert kept(tmp_path) == [5, 6]
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert "step 3 could not be saved" in complaints[0]
    assert "No space left on device" in complaints[0]


def test_the_third_failure_in_a_row_ends_the_run_and_what_was_there_stays(tmp_path: Path):
    with pytest.raises(OutputError, match="step 5 could not be saved .* What was saved before is valid") as failure:
        saving_every_step(tmp_path, FullTrainer(3, 4, 5), 6)
    assert failure.value.exit_code == 74
    assert kept(tmp_path) == [1, 2]


def test_the_last_save_of_a_run_has_no_next(tmp_path: Path):
    with pytest.raises(OutputError):
        saving_every_step(tmp_path, FullTrainer(6), 6)


@pytest.mark.parametrize(("make", "times"), [(torch.optim.AdamW, 2), (torch.optim.SGD, 0), (torch.optim.Adagrad, 1)])
def test_what_an_optimizer_remembers_is_measured(make: Any, times: int):
    assert state_bytes(make) == pytest.approx(times, abs=0.01)


@pytest.mark.parametrize(
    ("fit", "there", "refused"), [(3.5, 0, False), (2.5, 0, True), (1.5, 2, False), (0.5, 3, True)]
)
def test_a_run_is_refused_where_three_checkpoints_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: float, there: int, refused: bool
):
    module: Any = torch.nn.Linear(1000, 100, bias=False)
    module.optimizer = torch.optim.AdamW
    size = 3 * 400_000
    free = SimpleNamespace(free=fit * size)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    callback, trainer = Checkpoints(), FakeTrainer()
    callback.folder = tmp_path
    for step in range(there):
        (tmp_path / f"step={step}.ckpt").write_bytes(bytes(size))
    with pytest.raises(NoRoomError, match="three have to fit") if refused else nullcontext():
        callback.on_fit_start(trainer, module)


# When -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "between"), [(0.5, 300), (6, 300), (30, 1500)])
def test_saving_takes_five_minutes_apart_or_two_percent_of_the_time(seconds: float, between: float):
    callback = Checkpoints()
    callback._save_seconds = seconds
    assert callback.seconds_between() == between


def test_after_a_damaged_checkpoint_the_best_is_one_that_is_there(tmp_path: Path):
    before = run([3, 2, 1], tmp_path)
    before.path(3).unlink()
    again, trainer = Checkpoints(), FakeTrainer()
    again.load_state_dict(before.state_dict())
    again.folder, trainer.global_step = tmp_path, 2
    again.on_train_start(trainer, MODULE)
    assert again.best is None
    assert not (tmp_path / "best").exists()


def test_lightning_has_what_an_owed_validation_is_run_by():
    """`val_loop.run` and `_first_loop_iter`: no public way runs a validation inside a training that is resumed."""
    t = trainer(1)
    assert callable(t.fit_loop.epoch_loop.val_loop.run)
    assert hasattr(t._logger_connector, "_first_loop_iter")
