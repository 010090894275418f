"""What a command line gets before torch is imported: help, mistakes, and the commands that need no training."""

import importlib
import os
import sys
from collections.abc import Sequence

from zoo import helptext
from zoo.errors import UserError, of_the_disk
from zoo.request import COMMANDS, OTHERS, Request
from zoo.settings import layers, machine, schema
from zoo.settings.problems import MISSING, Problem

_PASSED_ON = ("--print_config", ".help")
"""What the parser of the configs answers itself."""


def answer(argv: Sequence[str]) -> int | None:
    """The exit code of a command that is done with; None for one that goes on to training.

    Everything printed here is printed without torch, Lightning, transformers or datasets.
    """
    try:
        return _answer(argv)
    except BrokenPipeError:  # `zoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if (meant := of_the_disk(error)) is None:
            raise
        return report([Problem(str(meant), meant.exit_code)])


def _answer(argv: Sequence[str]) -> int | None:
    if problems := machine.misspelt_variables(os.environ):
        return report(problems)
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(helptext.overview())
        return 0
    if argv[0] == "--version":
        import zoo

        print(zoo.__version__)
        return 0
    try:
        if argv[0] in OTHERS:
            return int(importlib.import_module(f"zoo.commands.{argv[0]}").main(list(argv[1:])))
        request = Request.parse(list(argv))
    except UserError as error:
        return report([Problem(str(error), error.exit_code)])
    if {"--help", "-h"} & {*argv}:
        print(helptext.command(request.command, request.flags))
        return 0
    return _checked(request)


def _checked(request: Request) -> int | None:
    if "LOCAL_RANK" in os.environ or request.command not in COMMANDS:
        return None  # a further process of a run whose first one has been checked
    own = request.run / "config.yaml" if request.run else None
    problems, _ = layers.check(schema.load(), request.command, request.flags, own)
    if any(flag.endswith(_PASSED_ON[1]) or flag.startswith(_PASSED_ON[0]) for flag in request.flags):
        problems = [problem for problem in problems if problem.code != MISSING]
    return report(problems) if problems else None


def report(problems: Sequence[Problem]) -> int:
    """Print a line for each; returns the exit code: that of a wrong setting, if there is one."""
    if os.environ.get("ZOO_DEBUG") and (error := sys.exception()):
        raise error
    for problem in problems:
        print(f"zoo: {problem.line}", file=sys.stderr)
    return min(problem.code for problem in problems)
