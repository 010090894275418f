"""Ctrl-C, SIGTERM, SIGHUP and SLURM's USR1: the command saves and ends, or stops at once on a second signal."""

import os
import select
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from zoo.errors import Stopped

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
_SHOW_CURSOR = "\x1b[?25h"
_PATIENCE = 2.0
"""Seconds that the main thread has to take note of a signal."""
_AT_ONCE = 0.3
"""Seconds within which two signals are one: the terminal's, and the same from the program that started this one."""
_told: set[int] = set()


def _tell_nobody() -> None:
    """A data worker has its parent's files: what it hears is not the parent's business."""
    if _told:
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell_nobody)


class Signals:
    """Takes the signals while it is entered.

    Before and after training one of them ends the command where it is. While `deferred` it is only noted in
    `received`, for the loop to end after its step; a second one stops the process at once.

    Python runs a handler when the call in progress returns, and one that waits for another process may never do so.
    A thread sees signals in spite of that, says so, and leaves at the second one.

    Args:
        ends_process: whether to leave is to end the process; in a notebook, it is a KeyboardInterrupt.
    """

    def __init__(self, ends_process: bool = True) -> None:
        self.ends_process = ends_process
        self.deferred = False
        self.received: signal.Signals | None = None
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}
        self._handled_at = 0.0
        self._said_to_wait = False
        self._told: int | None = None

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                if number := getattr(signal, name, None):  # Windows has but two of them
                    self._before[number] = signal.signal(number, self._handle)
            if os.name == "posix":
                self._listen()
        return self

    def _listen(self) -> None:
        self._watched, self._told = os.pipe()
        os.set_blocking(self._told, False)
        self._woken_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        _told.add(self._told)
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        if self._told is not None:
            signal.set_wakeup_fd(self._woken_before)
            _told.discard(self._told)
            os.close(self._told)  # which ends the thread
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _watch(self) -> None:
        begun, last, presses = None, 0.0, 0
        while True:
            wait = None if begun is None else max(0.0, begun + _PATIENCE - time.monotonic())
            if select.select([self._watched], [], [], wait)[0]:
                if not (numbers := os.read(self._watched, 64)):
                    return os.close(self._watched)
                if ours := {*numbers} & {*map(int, self._before)}:
                    now, number = time.monotonic(), max(ours)
                    begun = begun or now
                    presses += now - last > _AT_ONCE
                    last = now
            if begun is not None and time.monotonic() >= begun + _PATIENCE:
                if self._handled_at < begun - _AT_ONCE:
                    self._unanswered(number, presses)
                begun, presses = None, 0

    def _unanswered(self, number: int, presses: int) -> None:
        if self.ends_process and (presses > 1 or self.received or self._said_to_wait):
            self._leave(number)
        self._said_to_wait = True
        name = signal.Signals(number).name
        _say(f"\n{name}: waiting for the step in progress, or for another process (send it again to stop at once).\n")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data worker, which inherits the handler: its parent decides
        self._handled_at = time.monotonic()
        if self.received and not self.ends_process:
            raise KeyboardInterrupt
        if self.received:
            self._leave(number)
        self.received = signal.Signals(number)
        if not self.deferred:
            raise Stopped(number, f"stopped by {self.received.name}.")
        self._let_workers_go()
        _say(f"\n{self.received.name}: finishing this step and writing a checkpoint (send it again to stop at once).\n")

    def _let_workers_go(self) -> None:
        """A signal to the whole process group ends the data workers; torch would raise that in the middle of a save."""
        if number := getattr(signal, "SIGCHLD", None):
            self._before.setdefault(number, signal.signal(number, signal.SIG_DFL))

    def _leave(self, number: int) -> None:
        """Without any clearing up: files are put in place whole, and what is left over is swept by the next start."""
        _say((_SHOW_CURSOR if sys.stdout.isatty() else "") + "stopped at once. Earlier checkpoints are valid.\n")
        os._exit(128 + number)


def _say(text: str) -> None:
    """print() may not be entered a second time, and a signal may come while it is printing."""
    os.write(2, text.encode())
