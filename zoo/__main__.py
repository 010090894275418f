"""The `zoo` command; also `python -m zoo`."""

import os
import sys


def main() -> int:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not have it; `--model my_lab.FocalLM` needs it
    from zoo.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
