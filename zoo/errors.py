"""What a user can mend, each kind with the exit code of its command (sysexits where one fits).

Raised with one line that says what, where, what was found, what was expected and what to do. The command line prints
that line and no traceback; any other exception is a defect of ours and keeps its traceback.
"""


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
