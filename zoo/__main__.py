"""The `zoo` command; also `python -m zoo`."""

import os
import platform
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not have it; `--model my_lab.FocalLM` needs it
    from zoo.command import before_torch

    answered = before_torch.answer(arguments)
    if answered is not None:
        return answered
    _let_memory_grow()
    _take_large_pages()
    from zoo.command.lightning_cli import main as run

    return run(arguments)


def _let_memory_grow() -> None:
    """Have torch's allocator grow its blocks instead of adding new ones: pieces of changing sizes leave no holes.

    Only before torch is imported, only where the driver can do it, and unless the user has said something else. Under
    WSL2 many drivers cannot: the first allocation fails (https://github.com/pytorch/pytorch/issues/192330).
    """
    said = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys()
    if sys.platform == "linux" and not said and "microsoft" not in platform.uname().release.lower():
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def _take_large_pages() -> None:
    """Have torch ask for pages of 2 MB where it computes on the CPU.

    glibc gives large blocks back as soon as they are free, and the kernel hands out new pages, one by one, at every
    step: with large activations, up to 40 % of the time. Only before torch makes its first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


if __name__ == "__main__":
    sys.exit(main())
