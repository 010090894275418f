from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.callbacks.checkpoints import Checkpoints
from zoo.errors import ConfigError
from zoo.paths import follow


class FakeTrainer(SimpleNamespace):
    """What the callback asks of a trainer; saving writes the step into the file."""

    def __init__(self) -> None:
        super().__init__(global_step=0, sanity_checking=False, is_global_zero=True, world_size=1)
        self.state = SimpleNamespace(fn="fit")
        self.callback_metrics: dict[str, Any] = {}

    def save_checkpoint(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(self.global_step))


MODULE = SimpleNamespace(last_figures={})


def run(values: list[float], folder: Path, **settings: Any) -> Checkpoints:
    """Validate after each step, with these figures."""
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


def test_a_figure_that_is_no_number_is_never_best(tmp_path: Path):
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
