"""How a process takes memory: what zoo asks of torch's allocators and of glibc, before torch is imported.

Whoever has set one of the variables named below has the last word.
"""

import os
import platform
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_SAID_TO_GLIBC = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD"}


def set_all() -> None:
    let_gpu_blocks_grow()
    take_large_pages()
    keep_freed_memory()


def let_gpu_blocks_grow() -> None:
    """Have torch's allocator grow its blocks instead of adding new ones, so that micro-batches leave no holes.

    Only before torch is imported, only where the driver can do it, and unless the user has said something else
    (PYTORCH_ALLOC_CONF). Under WSL2 many drivers cannot: the first allocation fails
    (https://github.com/pytorch/pytorch/issues/192330).
    """
    said = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys()
    if sys.platform == "linux" and not said and "microsoft" not in platform.uname().release.lower():
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def take_large_pages() -> None:
    """Have torch ask for pages of 2 MB where it computes on the CPU, unless THP_MEM_ALLOC_ENABLE is set.

    New pages come one by one at every step: with large activations, up to 40 % of the time. Only before torch makes its
    first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> None:
    """Have glibc keep what a step has freed for the next one, unless one of its own variables is set.

    It gives the top of its heap back to the kernel whenever 64 MB of it are free, which is in every step, and takes it
    again page by page: 20,000 page faults and up to a tenth of the time of a step. Blocks above 32 MB, which glibc maps
    one by one, are given back as ever.
    """
    if sys.platform != "linux" or _SAID_TO_GLIBC & os.environ.keys():
        return
    import ctypes

    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # musl has none
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the most that it comes to by itself; the next line ends its adapting
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
