"""What is printed never ends a run: a pipe whose reader is gone, or a log on a full disk, takes nothing, no more."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Patient:
    """A stream that goes on where its file takes nothing. Python keeps what is waiting, and tries it again later."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def patient() -> Iterator[None]:
    """Standard output and error are patient inside; what they could not take is forgotten at the end."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(Patient, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
