"""zoo completion: what completes commands, keys, classes and runs in bash and zsh."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from zoo.command.inspect_files import USES
from zoo.command.invocation import COMMANDS, OTHERS
from zoo.command.settings import shipped
from zoo.command.settings.merging import Settings
from zoo.command.settings.schema import load
from zoo.errors import ConfigError
from zoo.runs import run

USAGE = "zoo completion bash|zsh prints a script. Load it in a shell that finds zoo:  source <(zoo completion bash)"
_BASH = """\
_zoo_complete() {
  local line=("${COMP_WORDS[@]:1:COMP_CWORD}") word
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(command zoo completion words "${line[@]}" 2>/dev/null)
  [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
}
complete -o default -F _zoo_complete zoo
"""
_ZSH = f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}"
_CLASSES = {"model": "zoo.Task", "data": "zoo.DataModule", "model.optimizer": "torch.optim.Optimizer",
            "trainer.callbacks": "lightning.pytorch.callbacks.Callback", "trainer.callbacks+":
            "lightning.pytorch.callbacks.Callback", "trainer.logger": "lightning.pytorch.loggers.Logger"}  # fmt: skip
_OWN = {
    "fit": ("config", "name", "resume", "allow-change", "print_config", "help"),
    "": ("config", "run", "print_config", "help"),
}


def main(argv: list[str]) -> int:
    if argv[:1] == ["words"]:
        print("\n".join(words(argv[1:])))
        return 0
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    scripts = {"bash": _BASH, "zsh": _ZSH}
    if len(argv) != 1 or argv[0] not in scripts:
        raise ConfigError(f"{USAGE}")
    print(scripts[argv[0]], end="")
    return 0


def words(typed: list[str]) -> list[str]:
    """What the last of the typed words may become; nothing where it is a file."""
    *before, word = typed or [""]
    if not before:
        return _begun([*COMMANDS, *OTHERS], word)
    if before[0] == "init":
        return _begun(list(USES) if before[-1] == "--use" else ["text", "images", "--use", "--out"], word)
    if before[0] == "runs":
        found = _values("run", before)
        return _begun([*found, "compare", "remove"] if len(before) == 1 else found, word)
    if before[0] == "completion":
        return _begun(["bash", "zsh"], word)
    if before[0] not in COMMANDS:
        return []
    if before[-1].startswith("--") and not word.startswith("--"):
        return _begun(_values(before[-1][2:], before), word)
    settings = _settings(before)
    shorthands = settings.shorthands()
    own = _OWN["fit" if before[0] == "fit" else ""]
    return _begun([f"--{name}" for name in [*own, *shorthands, *settings.flags()]], word)


def _settings(before: list[str]) -> Settings:
    found = Settings(load())
    flags = before[1:]
    asked = next((value for flag, value in pairwise(flags) if flag in ("--run", "--resume")), None)
    if "--config" not in flags and (before[0] != "fit" or "--resume" in flags):
        with suppress(FileNotFoundError):
            found.add_file(run.find(asked) / "config.yaml")
    found.add_flags(flags)
    return found


def _values(key: str, before: list[str]) -> Iterable[str]:
    if key == "config":
        return [*shipped.names(), *(path.as_posix() for path in sorted(Path("configs").rglob("*.yaml")))]
    if key in ("run", "resume"):
        return sorted(path.parent.as_posix() for path in run.RUNS.glob("*/*/config.yaml"))
    schema = load()
    if key in _CLASSES:
        return schema.subclasses(_CLASSES[key])
    expected = _settings(before[:-1]).expected(key)
    branches = [schema.resolved(branch) for branch in expected.get("anyOf", [expected])]
    if any("boolean" in str(branch.get("type", "")) for branch in branches):
        return ["true", "false"]
    return [str(choice) for branch in branches for choice in branch.get("enum", [])]


def _begun(known: Iterable[str], word: str) -> list[str]:
    return [name for name in known if name.startswith(word)]
