"""zoo fit | validate | test | predict, on LightningCLI.

Settings are merged in this order: zoo/command/defaults.yaml, each --config in turn, flags. A run's own config replaces
--config where a run is tested, used for predictions, or resumed. They are merged once (settings/merging.py); the
parser gets the result, fills in defaults, and makes the objects.
"""

import importlib
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from zoo.callbacks import previews
from zoo.callbacks.checkpoints import Checkpoints
from zoo.callbacks.predictions import Predictions
from zoo.callbacks.progress import ProgressLine
from zoo.callbacks.run_directory import RunDirectory
from zoo.callbacks.stop import StopBySignal
from zoo.command import output, plan, silenced_warnings, summary
from zoo.command.invocation import COMMANDS, Request
from zoo.command.settings import schema
from zoo.command.settings.problems import complain
from zoo.datamodule import DataModule
from zoo.errors import ConfigError, DataError, DoesNotFitError, Stopped, UserError, of_the_disk, typed
from zoo.files import trust
from zoo.files.paths import replace_folder
from zoo.loop import checkpoint, guards, optim, recovery
from zoo.loop.written import need
from zoo.runs import lock, parser_errors, run
from zoo.runs.signals import Signals
from zoo.task import Task
from zoo.trainer import Trainer

_OURS = {"ckpt_path", "weights_only", "verbose", "return_predictions"}
"""Arguments of the Trainer's methods that zoo sets itself."""

_CODE = "Unable to serialize instance"
"""What jsonargparse writes for a default that no config can hold, a partial, say: it stays with its class."""


class ZooCLI(LightningCLI):
    """LightningCLI with zoo's Task, DataModule and Trainer, runs, and reports."""

    def __init__(self, request: Request, settings: dict[str, Any], signals: Signals, task: Task | None = None):
        """Run the command.

        Args:
            task: one that holds weights, in place of the one that the settings describe.
        """
        self.request, self.signals, self.task, self.settings = request, signals, task, settings
        super().__init__(
            Task,
            DataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=Trainer,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={name: {"exit_on_error": False} for name in self.subcommands()} | {"exit_on_error": False},
            args={"subcommand": request.command, request.command: settings},
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        known = LightningCLI.subcommands()
        return {name: known[name] | _OURS for name in COMMANDS}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(Checkpoints, "checkpoint")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        trust.check(args[args["subcommand"]])
        try:
            self.config = parser.parse_object(args)
        except ArgumentError as error:
            raise ConfigError(parser_errors.readable(str(error))) from error
        trust.check(self.config[self.config.subcommand])

    def before_instantiate_classes(self) -> None:
        if "--print_config" in self.request.flags:
            print(self._config_text(), end="")
            raise SystemExit(0)
        if self.subcommand == "fit" and "settings" in self.request.checkpoint:
            self._guard(self.request.checkpoint["settings"])

    def _guard(self, made_with: dict[str, Any]) -> None:
        """Hold the config against what the checkpoint was made with, before anything heavy is done."""
        free = [key for cls in self._classes() for key in cls.changeable_on_resume]
        made_with = guards.without(made_with, free)
        now = guards.without(guards.flat(yaml.safe_load(self._config_text())), free)
        settings = self.request.merged(schema.load(may_import=True))
        for key in now.keys() - made_with.keys():  # a later version of the class has added it
            if "default" in (expected := settings.expected(key)):
                made_with[key] = expected["default"]
        for key in guards.check(made_with, now, self.request.allowed_changes):
            print(f"{key}: {made_with.get(key)} until now, {now.get(key)} from here.")

    def _classes(self) -> list[Any]:
        paths = [self._get(self.config, key).class_path for key in ("model", "data")]
        return [getattr(importlib.import_module(p.rpartition(".")[0]), p.rpartition(".")[2]) for p in paths]

    trainer: Any

    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        self.model.made_with = yaml.safe_load(self._config_text())["model"].get("init_args", {})  # in plain values
        self.model = self.task or self.model

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        shows_progress = self._get(self.config, "trainer").get("enable_progress_bar") is not False
        callbacks: list[Callback] = [ProgressLine()] if shows_progress else []
        if self.subcommand == "fit":
            self.directory = self._directory()
            callbacks += [self.directory, previews.Previews(self.directory), StopBySignal(self.signals)]
        if self.subcommand == "predict":
            self.predictions = Predictions(self.folder / "predictions.jsonl")
            callbacks += [self.predictions]
            kwargs["devices"] = 1
        self.trainer_defaults = {"callbacks": callbacks}
        try:
            trainer: Any = super().instantiate_trainer(**kwargs)
        except UserError:
            raise
        except (ValueError, TypeError) as error:  # Lightning's words for what it does not know, or cannot use here
            raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error
        if self.subcommand == "fit" and trainer.strategy.root_device.type == "cuda" and trainer.world_size == 1:
            trainer.plan = partial(plan.guess, self.request, self.settings)
        trainer.seed = self._get(self.config, "seed_everything") or 0
        trainer.allowed_changes = self.request.allowed_changes
        return trainer

    def _directory(self) -> RunDirectory:
        r, steps, due = self.request, 0, False
        if r.checkpoint:
            steps = r.checkpoint["zoo"]["step"]
            due = r.checkpoint["callbacks"].get(Checkpoints.__qualname__, {}).get("validation_due", False)
        return RunDirectory(r.name, self._config_text, r.run, steps, due, r.lock)

    def _config_text(self) -> str:
        command = self.subcommand or "fit"
        text = self._parser(command).dump(self.config[command], skip_unset=False)
        return text if _CODE not in text else yaml.safe_dump(_without_code(yaml.safe_load(text)), sort_keys=False)

    @property
    def folder(self) -> Path:
        """Where results go: the run, or beside the runs of this name if the weights are of none."""
        return self.request.run or run.RUNS / self.request.name / ("in_memory" if self.task else "pretrained")

    # Commands ---------------------------------------------------------------------------------------------------

    def fit(self, model: Task, datamodule: DataModule, **kwargs: Any) -> None:
        need(model, "save_model")
        path = self.request.checkpoint_path
        for name, limit in (("max_steps", self.trainer.step_limit), ("max_epochs", self.trainer.max_epochs)):
            if limit == 0:
                raise ConfigError(f"trainer.{name} is 0, so there is nothing to train. Set 1 or more.")
        if self.request.checkpoint:
            model.restore(self.request.checkpoint)
            if self._is_finished():
                print(f"{self.request.run} is finished ({path}): nothing to do. To train longer, raise its max_epochs.")
                return
            self._hold_the_rate(model)
        datamodule.bad.without_run = run.RUNS / self.request.name / "bad_samples.jsonl"
        self.trainer.fit(model, datamodule=datamodule, ckpt_path=path, weights_only=True, **kwargs)
        folder = self.directory.folder
        if self.signals.received:
            raise Stopped(
                self.signals.received,
                f"stopped after the last step. Go on with: {typed(f'zoo fit --resume {folder}')}",
            )
        if self.trainer.is_global_zero and folder:
            self._finish(model, folder)

    def _is_finished(self) -> bool:
        """Whether the resumed run came to its end, and this command asks for no other end."""
        assert self.request.run is not None
        asked, limits = self._get(self.config, "trainer"), ("max_epochs", "max_steps", "max_time")
        saved = run.settings(self.request.run)["trainer"]
        return "fit" in run.read_metrics(self.request.run) and all(asked[key] == saved.get(key) for key in limits)

    def _hold_the_rate(self, model: Task) -> None:
        """Refuse another end of the run that would bend the learning rate, unless it was asked for.

        Raises:
            ConfigError: the key, what the rate was to be, and what it would be.
        """
        assert self.request.run is not None
        state = self.request.checkpoint["zoo"]
        after = self.trainer.steps_in_all(state["steps_per_epoch"])
        if not (bent := optim.bent(model.lr_factor, state["step"], state["total_steps"], after)):
            return
        peak = optim.peak_lr(model.optimizer or model.usual_optimizer())
        step, was, now = bent
        rate = f"the learning rate of step {step + 1:,} is {now * peak:.3g} instead of {was * peak:.3g}"
        saved, asked = run.settings(self.request.run)["trainer"], self._get(self.config, "trainer")
        changed = [f"trainer.{key}" for key in ("max_epochs", "max_steps") if asked[key] != saved.get(key)]
        if {*changed} <= {*self.request.allowed_changes}:
            print(f"{state['total_steps']:,} steps until now, {after:,} from here: {rate}.")
            return
        raise ConfigError(
            f"{' and '.join(changed)} would bend the schedule, as the run has {after:,} steps instead of "
            f"{state['total_steps']:,}: {rate}. To want this: "
            f"{' '.join(f'--allow-change {key}' for key in changed)}. For a new run from these weights: "
            f"--model.pretrained {self.request.run}/model."
        )

    def _finish(self, model: Task, folder: Path) -> None:
        """Export the best weights and say what came of it."""
        last = model.last_metrics
        best = checkpoint.read(run.checkpoint_of(folder))
        model.load_trained(best)
        model.origin = folder
        replace_folder(folder / "model", model.save_model)
        metrics = _best_metrics(self.trainer) or {f"val/{name}": value for name, value in last.items()}
        for callback in self.trainer.callbacks:
            metrics |= getattr(callback, "metrics", {})
        eval_settings = {"step": best["zoo"]["step"], **model.eval_settings("validation")}
        if metrics:
            summary.table("best checkpoint", metrics, eval_settings)
        else:
            print("no validation took place: the run was shorter than the interval between two (trainer.check_val_…).")
        trainer = self.trainer
        for words in summary.conclusions(
            [*trainer.callbacks, model], metrics, trainer.global_step, trainer.total_steps
        ):
            print(words)
        model.to(trainer.strategy.root_device)  # Lightning has moved it to the CPU
        for text in previews.shown(model):
            print(text)
        run.write_metrics(folder, "fit", {"metrics": metrics, "eval_settings": eval_settings})
        if not math.isfinite(loss := last.get("loss", 0.0)):
            raise DataError(
                f"the run ended with a validation loss of {loss}: the training has diverged, or the data has numbers "
                f"that are not finite. Lower model.optimizer.lr or look at the data. {folder / 'metrics.csv'} shows "
                f"since when."
            )
        summary.next_commands(folder, model.predicts_from)

    def validate(self, **kwargs: Any) -> None:
        self._evaluate("validation", self.trainer.validate, **kwargs)

    def test(self, **kwargs: Any) -> None:
        self._evaluate("test", self.trainer.test, **kwargs)

    def _evaluate(self, split: Any, evaluate: Any, model: Task, datamodule: DataModule, **kwargs: Any) -> None:
        if self.request.checkpoint:
            model.restore(self.request.checkpoint)
        path = self.request.checkpoint_path
        run.tidy(self.folder)
        datamodule.bad.path = self.folder / "bad_samples.jsonl"
        evaluate(model, datamodule=datamodule, ckpt_path=path, weights_only=True, verbose=False, **kwargs)
        if not model.last_metrics:
            raise ConfigError(f"there is no {split} data. Set data.{split}.")
        if self.trainer.is_global_zero:
            weights = str(path or (f"in memory, of {model.origin}" if self.task else "pretrained"))
            described = {"data": line} if (line := datamodule.describe(split)) else {}
            eval_settings = {**model.eval_settings(split), **described, "weights": weights}
            summary.table(split, model.last_metrics, eval_settings)  # first: a full disk takes no result away
            run.write_metrics(self.folder, split, {"metrics": model.last_metrics, "eval_settings": eval_settings})
            report = model.write_test_report(self.folder / split)
            print(f"written: {', '.join(str(p) for p in [self.folder / 'metrics.json', *report])}")
        if not math.isfinite(loss := model.last_metrics.get("loss", 0.0)):
            raise DataError(
                f"the loss on the {split} data is {loss}: weights, data or loss() hold numbers that are not finite."
            )

    def predict(self, model: Task, datamodule: DataModule, **kwargs: Any) -> None:
        need(model, "predict_batch")
        if self.request.checkpoint:
            model.restore(self.request.checkpoint)
        path = self.request.checkpoint_path
        run.tidy(self.folder)
        datamodule.bad.path = self.folder / "bad_samples.jsonl"
        self.trainer.predict(
            model, datamodule=datamodule, ckpt_path=path, weights_only=True, return_predictions=False, **kwargs
        )
        print(f"written: {self.predictions.path} ({self.predictions.count} predictions)")


def _best_metrics(trainer: Trainer) -> dict[str, float] | None:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, Checkpoints):
            return callback.best_metrics
    return None


def main(argv: list[str]) -> int:
    """Run one command; returns its exit code."""
    signals = Signals()
    with output.patient():
        try:
            with surroundings(signals):
                request = Request.parse(argv)
                request.find_run()
                settings, problems = request.settings(schema.load(may_import=True))
                if problems:
                    return complain(problems)
                request.open()
                ZooCLI(request, settings, signals)
        except (UserError, Stopped) as error:
            if os.environ.get("ZOO_DEBUG"):
                raise
            print(f"zoo: {error}", file=sys.stderr)
            return error.exit_code
    return 0


def _without_code(settings: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if not str(value).startswith(_CODE)}
    return {key: _without_code(value) if isinstance(value, dict) else value for key, value in kept.items()}


@contextmanager
def surroundings(signals: Signals) -> Iterator[None]:
    """What a command runs in: signals end it in good order, libraries are quiet, and no lock outlives it.

    Raises:
        UserError: for whatever a user can fix, also where a library has wrapped it.
    """
    with output.patient(), signals, silenced_warnings.quiet(), lock.all_released():
        try:
            yield
        except Exception as error:
            if (meant := _meant_for_users(error)) is None or meant is error:
                raise
            raise meant from error


def _meant_for_users(error: BaseException) -> UserError | None:
    """What a constructor of ours, or Lightning's, said before a library wrapped it; or a lack of memory or disk."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UserError):
            return link
        if isinstance(link, MisconfigurationException):
            return ConfigError(f"trainer: {' '.join(str(link).split())}")
        link = link.__cause__
    if recovery.is_out_of_memory(error):
        return DoesNotFitError(recovery.outside_of_a_step(error))
    return of_the_disk(error)
