"""What the user asked for: the part of the command line that names runs, read before anything heavy is."""

import importlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from zoo import run
from zoo.errors import ConfigError
from zoo.lock import Lock
from zoo.paths import follow
from zoo.settings import schema
from zoo.settings.layers import Layers
from zoo.settings.problems import nearest

COMMANDS = ("fit", "validate", "test", "predict")
OTHERS = ("list", "init", "runs", "doctor", "schema", "completion")
_KEPT = {"config", "print_config", "help", "model", "data", "trainer", "seed_everything", "checkpoint"}


@dataclass
class Request:
    """A command and its flags, with runs resolved.

    Args:
        command: fit, validate, test or predict.
        flags: what goes on to the parser of the configs.
        name: of a new run.
        run: whose checkpoint is used; None for none.
        checkpoint: of that checkpoint's content, what is no tensor. Empty for none, even in a run.
        allowed_changes: keys that may differ from the settings of the checkpoint.
        lock: on the run, if it is resumed.
    """

    command: str
    flags: list[str]
    name: str = "run"
    run: Path | None = None
    checkpoint_path: Path | None = None
    checkpoint: dict[str, Any] = field(default_factory=dict)
    allowed_changes: list[str] = field(default_factory=list)
    lock: Lock | None = None

    @classmethod
    def parse(cls, argv: list[str]) -> "Request":
        """Take --name, --run, --resume and --allow-change out of the command line, and find what they name.

        Raises:
            ConfigError: flags that do not go together.
            MissingInputError: no such run.
        """
        if not argv or argv[0].startswith("-"):
            return cls(command="", flags=argv or ["--help"])
        if argv[0] not in COMMANDS:
            raise ConfigError(
                f"there is no zoo {argv[0]}{nearest(argv[0], [*COMMANDS, *OTHERS])} zoo --help lists them."
            )
        command, flags = argv[0], _expand_shorthands([_resolved(flag) for flag in argv[1:]])
        name, flags = _take(flags, "--name")
        asked, flags = _take(flags, "--run")
        resume, flags = _take(flags, "--resume", optional=True)
        allowed = []
        while (key := _take(flags, "--allow-change")) != (None, flags):
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
        request = cls(command, flags, name or (Path(configs[0]).stem if configs else "run"), allowed_changes=allowed)
        wants_help = {"--help", "-h"} & {*flags}
        if resume is not None and not wants_help:
            request.run = run.find(resume or None)
        elif command != "fit" and (asked or not configs) and not wants_help:
            request.run = run.find(asked)
        if request.run:
            request.name = request.run.parent.name
        return request

    def open(self) -> None:
        """Read the checkpoint of the run, which needs torch; a run that is resumed is locked first.

        Raises:
            BusyError: the run to be resumed is going on.
            DataError: no checkpoint is whole.
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
        if run.checkpoints(folder) or "fit" in run.read_figures(folder):
            self._use(folder, "last")
        else:
            print(f"{folder} has no checkpoint yet: it starts from its first step.")

    def _use(self, folder: Path, which: str) -> None:
        from zoo import checkpoint

        self.checkpoint_path = run.checkpoint_of(folder, which)
        content = checkpoint.read(self.checkpoint_path)
        self.checkpoint = {name: content[name] for name in ("zoo", "callbacks", "settings") if name in content}

    @property
    def configs(self) -> list[str]:
        return _values(self.flags, "--config")

    def arguments(self) -> list[str]:
        """For the parser: the run's own config first, so that flags and other configs win."""
        own = ["--config", str(self.run / "config.yaml")] if self.run else []
        return [*([self.command] if self.command else []), *own, *self.flags]


def _resolved(flag: str) -> str:
    """A flag or value that goes through a pointer names its target: runs/latest/model will soon be another one."""
    name, equals, value = flag.partition("=") if flag.startswith("--") else ("", "", flag)
    target = follow(value) if value and len(value) < 4096 else Path(value)
    return f"{name}{equals}{target.as_posix()}" if target != Path(value).expanduser() else flag


def _take(flags: list[str], name: str, optional: bool = False) -> tuple[str | None, list[str]]:
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


def _expand_shorthands(flags: list[str]) -> list[str]:
    """Write out the flags that the data module declares as shorthands: --prompt is --data.predict."""
    unknown = [f for f in flags if f.startswith("--") and "." not in f and f[2:].partition("=")[0] not in _KEPT]
    unknown = [f for f in unknown if f.partition("=")[0] not in ("--name", "--run", "--resume", "--allow-change")]
    if not unknown:
        return flags
    shorthands = _data_class_shorthands(flags)
    expanded = []
    for flag in flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        known = flag in unknown and name in shorthands
        expanded.append(f"--{shorthands[name]}{equals}{value}" if known else flag)
    return expanded


def _data_class_shorthands(flags: list[str]) -> dict[str, str]:
    settings = Layers(schema.load())
    if not _values(flags, "--data") and not _values(flags, "--config"):
        settings.add_file(run.find(next(iter(_values(flags, "--run")), None)) / "config.yaml")
    settings.add_flags(flags)
    definition, path = settings.data_class(), settings.class_path("data")
    if definition is not None or not path:
        return (definition or {}).get("x-shorthands", {})
    module, _, name = path.rpartition(".")
    try:  # a class that cannot be read from its source
        return getattr(getattr(importlib.import_module(module), name), "shorthands", {})
    except (ImportError, AttributeError, ValueError):
        return {}
