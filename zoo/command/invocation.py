"""What the user asked for: a command, its flags, and the run that they name."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from zoo.command.settings.merging import Settings, merged
from zoo.command.settings.problems import SETTING, Problem, nearest
from zoo.command.settings.schema import BASES, Schema
from zoo.errors import ConfigError
from zoo.files.paths import expanded, follow
from zoo.runs import run
from zoo.runs.lock import Lock

COMMANDS = ("fit", "validate", "test", "predict")
OTHERS = ("list", "init", "runs", "doctor", "schema", "completion", "plan")
_ELSEWHERE = {"train": "fit", "finetune": "fit", "eval": "test", "evaluate": "test", "generate": "predict", "sample":
              "predict", "resume": "fit --resume", "config": "init", "ls": "runs", "version": "--version"}  # fmt: skip
"""Commands of other tools, and what they are here."""


@dataclass
class Request:
    """A command and its flags, with runs resolved.

    Args:
        command: fit, validate, test or predict.
        flags: configs and settings.
        asked: name of a run; "" for the latest, None for none.
        name: of a new run.
        allowed_changes: keys that may differ from the settings of the checkpoint.
        values: settings that are no text, from Python; they win over the flags.
        run: whose checkpoint is used; None for none.
        checkpoint: of that checkpoint's content, what is no tensor. Empty for none, even in a run.
        lock: on the run, if it is resumed.
    """

    command: str
    flags: list[str]
    asked: str | None
    name: str
    allowed_changes: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    run: Path | None = None
    checkpoint_path: Path | None = None
    checkpoint: dict[str, Any] = field(default_factory=dict)
    lock: Lock | None = None

    @classmethod
    def parse(cls, argv: list[str]) -> "Request":
        """Take --name, --run, --resume and --allow-change out of the command line.

        Raises:
            ConfigError: no such command, or flags that do not go together.
        """
        command, flags = argv[0], [_resolved(flag) for flag in argv[1:]]
        if command not in COMMANDS:
            known = _ELSEWHERE.get(command, "")
            near = f"; did you mean {known}?" if known else nearest(command, [*COMMANDS, *OTHERS])
            raise ConfigError(f"there is no zoo {command}{near} zoo --help lists them.")
        name, flags = take(flags, "--name")
        asked, flags = take(flags, "--run")
        resume, flags = take(flags, "--resume", optional=True)
        allowed = []
        while (key := take(flags, "--allow-change")) != (None, flags):
            allowed.append(str(key[0]))
            flags = key[1]
        configs = _values(flags, "--config")
        if name is not None:
            run.check_name(name)
        if allowed and resume is None:
            raise ConfigError("--allow-change goes with zoo fit --resume: it names a setting that may differ.")
        if command == "fit" and asked:
            raise ConfigError("zoo fit has no --run; to go on with a run: zoo fit --resume RUN.")
        if command != "fit" and resume is not None:
            raise ConfigError(f"zoo {command} has no --resume; to use a run: zoo {command} --run RUN.")
        if command != "fit" and not asked:
            asked = None if configs else ""
        default = Path(configs[0]).stem if configs else "run"
        return cls(command, flags, resume if command == "fit" else asked, name or default, allowed)

    def find_run(self) -> None:
        """Find the run that is named, if one is.

        Raises:
            MissingInputError: there is no such run.
        """
        if self.asked is not None:
            self.run = run.find(self.asked or None, "--resume" if self.command == "fit" else "--run")
            self.name = self.run.parent.name

    def merged(self, schema: Schema) -> Settings:
        """What is set, each value with its place."""
        return merged(schema, self.flags, self.run / "config.yaml" if self.run else None, self.values)

    def settings(self, schema: Schema) -> tuple[dict[str, Any], list[Problem]]:
        """The settings as constructors take them, and what is wrong with them.

        The run's own config comes first, so that flags and other configs win.
        """
        settings = self.merged(schema)
        is_lost = self.asked is not None and self.run is None and not {*BASES} & settings.tree.keys()
        found, problems = ({}, settings.problems) if is_lost else settings.check(self.command, self.run is not None)
        if "--print_config" in self.flags:  # of files that are not there yet
            problems = [problem for problem in problems if problem.code == SETTING]
        return found, problems

    def open(self) -> None:
        """Read the checkpoint of the run, which needs torch; a run that is resumed is locked first.

        Raises:
            BusyError: the run to be resumed is going on.
            DataError: no checkpoint is valid.
        """
        if self.run and self.command == "fit":
            self._resume(self.run)
        elif self.run:
            self._use(self.run, "best")

    def _resume(self, folder: Path) -> None:
        """The newest whole checkpoint of the run; its beginning, if it was stopped before there was one."""
        from lightning.fabric.utilities.rank_zero import _get_rank

        if not _get_rank():  # other processes of the run are started by the one that holds the lock
            self.lock = Lock(folder)
        if run.checkpoints(folder) or "fit" in run.read_metrics(folder):
            self._use(folder, "last")
        else:
            print(f"{folder} has no checkpoint yet: it starts from its first step.")

    def _use(self, folder: Path, which: str) -> None:
        from zoo.loop import checkpoint

        self.checkpoint_path = run.checkpoint_of(folder, which)
        content = checkpoint.read(self.checkpoint_path)
        self.checkpoint = {name: content[name] for name in ("zoo", "callbacks", "settings") if name in content}


def _resolved(flag: str) -> str:
    """A flag or value that goes through a pointer names its target: runs/latest/model will soon be another one.

    For runs/latest itself it is `run.find` that says which run that is.
    """
    name, equals, value = flag.partition("=") if flag.startswith("--") else ("", "", flag)
    here = expanded(value)
    target = follow(value) if value and here != run.RUNS / "latest" else here
    return f"{name}{equals}{target.as_posix()}" if target != here else flag


def take(flags: list[str], name: str, optional: bool = False) -> tuple[str | None, list[str]]:
    """The value of a flag ("" for none, if it is optional) and the flags without it."""
    for i, flag in enumerate(flags):
        if flag.startswith(f"{name}="):
            return flag.partition("=")[2], flags[:i] + flags[i + 1 :]
        if flag == name:
            has_value = i + 1 < len(flags) and not flags[i + 1].startswith("--")
            if not has_value and not optional:
                raise ConfigError(f"{name} needs a value.")
            return (flags[i + 1] if has_value else ""), flags[:i] + flags[i + 1 + has_value :]
    return None, flags


def _values(flags: list[str], name: str) -> list[str]:
    after = [value for flag, value in pairwise(flags) if flag == name]
    return after + [flag.partition("=")[2] for flag in flags if flag.startswith(f"{name}=")]
