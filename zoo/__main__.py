"""The `zoo` command; also `python -m zoo`."""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not have it; `--model my_lab.FocalLM` needs it
    from zoo.command import before_torch, memory_settings

    answered = before_torch.answer(arguments)
    if answered is not None:
        return answered
    memory_settings.set_all()
    from zoo.command.lightning_cli import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
