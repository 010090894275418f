"""Files that end in the checksum of all before it, so that a damaged one is found.

The last line is "zoo xxh3 …". Readers of zip files (torch.load) and of Arrow streams pass over what follows their data.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import xxhash

_BEGIN = b"zoo xxh3 "
BYTES = len(_BEGIN) + 32 + 1
"""Length of the last line."""
_BLOCK = 1 << 22


def write(file: Any, content: Callable[[Any], object]) -> None:
    """Call `content` with a file to write to, from begin to end; then add the checksum.

    Raises:
        OSError: of the file, even where `content` raises another error in its place, as torch does for a full disk.
    """
    hashing = _Hashing(file)
    try:
        content(hashing)
    except Exception as error:
        if hashing.error in (None, error):
            raise
        raise hashing.error from error
    file.write(_line(hashing.seen))


def damage(path: Path) -> str | None:
    """What is wrong with the file; None for nothing. It is read in blocks, so that it takes no memory."""
    with open(path, "rb") as file:
        left, seen = path.stat().st_size - BYTES, xxhash.xxh3_128()
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            seen.update(block)
            left -= len(block)
        last = file.read()
    if left or not last.startswith(_BEGIN):
        return "its end is missing, or zoo did not write it"
    return None if last == _line(seen) else "checksum differs"


def _line(seen: Any) -> bytes:
    return _BEGIN + seen.hexdigest().encode() + b"\n"


class _Hashing:
    """A file that is written from its begin to its end, and hashed on the way."""

    closed = False  # pyarrow asks

    def __init__(self, file: IO[bytes]):
        self.file, self.seen = file, xxhash.xxh3_128()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self.seen.update(data)
        try:
            self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None: ...
