"""What a user can fix, each kind with the exit code of its command (sysexits where one fits).

Raised with one line that says what, where, what was found, what was expected and what to do. The command line prints
that line and no traceback; any other exception is a defect of ours and keeps its traceback.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Base of all below; not raised itself."""

    exit_code = 1


class ConfigError(UserError, ValueError):
    """A setting, or two that do not go together."""

    exit_code = 2


class DataError(UserError, ValueError):
    """The data is there but cannot be used: wrong column, wrong encoding, nothing left to train on."""

    exit_code = 65


class BrokenSampleError(DataError):
    """One sample cannot be read, for the reason given. The data module names it and goes on without it."""


class MissingInputError(UserError, FileNotFoundError):
    """A file, folder, run, or hub repository that is not there or cannot be reached."""

    exit_code = 66

    def __str__(self) -> str:  # FileNotFoundError would look for an errno
        return str(self.args[0])


class LostProcessError(UserError):
    """Another process of a training on several devices has gone, so that this one cannot go on."""

    exit_code = 69


class DoesNotFitError(UserError):
    """Memory that cannot be found: not even one sample goes through, or the batch must not be cut smaller."""

    exit_code = 71


class OutputError(UserError, OSError):
    """What the run writes has no room, or does not reach the disk."""

    exit_code = 74

    def __str__(self) -> str:
        return str(self.args[0])


class NoRoomError(OutputError):
    """Refused before the first step, because the results would not fit."""

    exit_code = 73


class BusyError(UserError):
    """Another process is at work in the run directory."""

    exit_code = 75


class Stopped(BaseException):
    """A signal asked the command to end. No Exception, so that no library takes it for a failure of its own.

    Args:
        signal_number: decides the exit code, as shells have it.
        message: what was saved, and how to go on.
    """

    def __init__(self, signal_number: int, message: str = ""):
        super().__init__(message)
        self.exit_code = 128 + signal_number


_OF_DISKS = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM", "ENOTDIR", "ESTALE")
    if hasattr(errno, name)
)
"""Full, over quota, too large, read-only, failing, not ours, a file where a folder should be, gone from the network."""


def of_the_disk(error: BaseException | None) -> OutputError | None:
    """What a disk that cannot be written to made a library say, in a line; None for any other error."""
    while error is not None:
        for number in _OF_DISKS:
            said = isinstance(error, OSError) and error.errno == number
            if said or f"os error {number})" in str(error):  # as Rust has it, and so safetensors and tokenizers
                place, _, name = str(getattr(error, "filename", None) or "").rpartition("/")
                where = (place or ".") if name.startswith(".") else f"{place}/{name}" if place else name
                return OutputError(
                    f"{where or 'a file of this command'} cannot be written: {os.strerror(number)}. What was written "
                    f"before is valid. Make room, or use a folder that can be written to, and start again."
                )
        error = error.__cause__ or error.__context__
    return None


def typed(command: str) -> str:
    """A command as it is typed here: with `uv run` before it where zoo itself was called so."""
    return f"uv run {command}" if "UV_RUN_RECURSION_DEPTH" in os.environ else command


@contextmanager
def before_the_first_step() -> Iterator[None]:
    """What cannot be written to now is refused, before time is spent on it.

    Raises:
        NoRoomError: the disk does not take what is written inside.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError) or (meant := of_the_disk(error)) is None:
            raise
        raise NoRoomError(str(meant)) from error
