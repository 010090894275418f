"""What the C library is told before a training on the CPU: keep the memory that it gets back."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process, for the next step; returns whether that can be asked for.

    glibc gives every freed block of more than 32 MB back to the kernel, which hands out fresh, zeroed pages at the next
    step: with large activations 40 % of the time goes into that. The kernel sees no more memory in use than at the
    peak, but it sees that until the process ends. Does nothing where the C library is another one.
    """
    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_MAX, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, -1))
