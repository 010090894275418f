"""What a command line gets before torch is imported: help, mistakes, and the commands that need no training."""

import importlib
import os
import sys
from collections.abc import Sequence

from zoo.command import help
from zoo.command.invocation import COMMANDS, OTHERS, Request
from zoo.command.settings import environment, schema
from zoo.command.settings.problems import Problem, complain
from zoo.errors import ConfigError, UserError, of_the_disk

_HELP = ("--help", "-h")


def answer(argv: Sequence[str]) -> int | None:
    """The exit code of a command that is done with; None for one that goes on to training.

    Everything printed here is printed without torch, Lightning, transformers or datasets.
    """
    try:
        return _answer(list(argv))
    except UserError as error:
        return complain([Problem(str(error), error.exit_code)])
    except BrokenPipeError:  # `zoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if (meant := of_the_disk(error)) is None:
            raise
        return complain([Problem(str(meant), meant.exit_code)])


def _answer(argv: list[str]) -> int | None:
    if problems := environment.misspelt_variables(os.environ):
        return complain(problems)
    if broken := [word for word in argv if any("\ud800" <= letter <= "\udfff" for letter in word)]:
        raise ConfigError(f"{ascii(broken[0])[:60]} is not UTF-8; type it anew, or rename the file.")
    if argv[:1] == ["help"] and len(argv) > 1:
        argv = [*argv[1:], "--help"]
    if not argv or argv[0] in (*_HELP, "help"):
        print(help.overview())
        return 0
    if argv[0] == "--version":
        import zoo

        print(zoo.__version__)
        return 0
    if argv[0] in OTHERS:
        return int(importlib.import_module(f"zoo.command.{argv[0]}").main(argv[1:]))
    if argv[0].startswith("-"):
        raise ConfigError(f"a command comes first: zoo {' | '.join(COMMANDS)}. zoo --help lists them.")
    argv = [flag.removesuffix(".help") if flag.startswith("--") else flag for flag in argv] + [
        "--help" for flag in argv if flag.startswith("--") and flag.endswith(".help")
    ]
    request = Request.parse(argv)
    if {*_HELP} & {*argv}:
        print(help.command(request.command, request.flags))
        return 0
    return None if "LOCAL_RANK" in os.environ else _check(request)  # the first process of a run has been checked


def _check(request: Request) -> int | None:
    problems: list[Problem] = []
    try:
        request.find_run()
    except UserError as error:
        problems.append(Problem(str(error), error.exit_code))
    problems += request.settings(schema.load())[1]
    return complain(problems) if problems else None
