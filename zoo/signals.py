"""Ctrl-C, SIGTERM, SIGHUP and SLURM's USR1: the command ends in good order, or at once if asked twice."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from zoo.errors import Stopped

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
_SHOW_CURSOR = "\x1b[?25h"


class Signals:
    """Takes the signals while it is entered.

    Before and after training one of them ends the command where it is. While `deferred` it is only noted in
    `received`, for the loop to end after its step; a second one leaves at once.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.received: signal.Signals | None = None
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                if number := getattr(signal, name, None):  # Windows has but two of them
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data worker, which inherits the handler: its parent decides
        if self.received:
            self._leave(number)
        self.received = signal.Signals(number)
        if not self.deferred:
            raise Stopped(number, f"stopped by {self.received.name}.")
        self._let_workers_go()
        _say(f"\n{self.received.name}: this step ends, and a checkpoint is written (again: leave at once).\n")

    def _let_workers_go(self) -> None:
        """A signal to the whole process group ends the data workers; torch would raise that in the middle of a save."""
        if number := getattr(signal, "SIGCHLD", None):
            self._before.setdefault(number, signal.signal(number, signal.SIG_DFL))

    def _leave(self, number: int) -> None:
        """Without any clearing up: files are put in place whole, and what is left over is swept by the next start."""
        _say((_SHOW_CURSOR if sys.stdout.isatty() else "") + "left at once; earlier checkpoints are whole.\n")
        os._exit(128 + number)


def _say(text: str) -> None:
    """print() may not be entered a second time, and a signal may come while it is printing."""
    os.write(2, text.encode())
