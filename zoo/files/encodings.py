"""Which encoding a file of text is in: UTF-8, what its byte order mark says, or what its bytes look like.

Nothing is replaced: a byte that cannot be decoded is named.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from zoo.errors import ConfigError, DataError
from zoo.files.endings import PACKED

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NO_FILES = ("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined")
"""Python's codecs of names and of source code."""
_OTHERS = ("cp1251", "cp1250", "cp1253", "cp1255", "cp1256", "koi8_r", "cp932", "euc_jp", "gb18030", "big5", "cp949")
"""Likelier ones first, which decides where nothing else does."""
_PUNCTUATION = "’‘–—·“”„…«»"
_BLOCK = 1 << 22
_SAMPLE = 1 << 16
_IMPLAUSIBLE = 0.35
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


@dataclass(frozen=True)
class Encoding:
    """How to read a file.

    Args:
        name: of Python's codec.
        note: what was concluded, for the screen; empty for plain UTF-8 and for what the user said.
        size: bytes of the file, unpacked.
    """

    name: str
    note: str = ""
    size: int = field(default=0, compare=False)


def open_bytes(path: Path) -> IO[bytes]:
    """The file, unpacked on the way if its name ends in .gz or .zst."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_Unpacked(path))
    return open(path, "rb")


class _Unpacked(io.RawIOBase):
    """zstd by Arrow, which is there anyway."""

    def __init__(self, path: Path):
        import pyarrow as pa  # a quarter of a second, for these files only

        self._packed = open(path, "rb")  # noqa: SIM115 – closed with this; by its name Arrow opens none with odd bytes
        self._stream: Any = pa.input_stream(self._packed, compression="zstd")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def find(path: Path, asked: str | None) -> Encoding:
    """The encoding of a file, which is read through once for it, as long as it does not change.

    Args:
        asked: what the user says it is.

    Raises:
        ConfigError: there is no such encoding.
        DataError: the file is in none, or has a byte that its own does not know.
    """
    status = path.stat()
    return _find(path, asked, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@cache
def _find(path: Path, asked: str | None, state: tuple[int, ...]) -> Encoding:
    if asked is not None:
        return _asked(path, asked)
    start = _start(path)
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return Encoding(name, size=_decodable(path, name, name.removesuffix("-sig").upper()))
    if wide := _without_mark(start):
        note = f"{path.name} is UTF-16 without a byte order mark, read as such"
        return Encoding(wide, note, _decodable(path, wide, "UTF-16"))
    found = _scan(path, "utf-8")
    return _guessed(path, found) if isinstance(found, Bad) else Encoding("utf-8", size=found)


def of_head(path: Path, head: bytes) -> str:
    """The codec of a file by its beginning: what `find` says if the rest is like it.

    Raises:
        DataError: no codec fits.
    """
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    if wide := _without_mark(head[:4096]):
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # its last character may be cut off
        return "utf-8"
    except UnicodeDecodeError as error:
        bad = Bad(error.start, head[error.start], not head[: error.start].isascii())
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    sample = b"\n".join(lines[:-1] or lines)[:_SAMPLE]  # the last may be cut off within a character
    _refuse_damaged(path, bad, sample)
    for name in _candidates(sample):
        try:
            codecs.getincrementaldecoder(name)().decode(head)
            return name
        except UnicodeDecodeError:
            pass
    raise _no_encoding(path, bad)


def _start(path: Path) -> bytes:
    with _whole(path), open_bytes(path) as file:
        return file.read(4096)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        packed = " (is it packed as its name says?)" if path.suffix.lower() in PACKED else ""
        raise DataError(f"{path} is damaged or cut off{packed}: {error}.") from error


def _asked(path: Path, name: str) -> Encoding:
    try:
        codecs.lookup(name)
        "".encode(name)  # codecs.lookup knows some that are none of text
        if codecs.lookup(name).name in _NO_FILES:
            raise LookupError
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"data.encoding is {name!r}, which Python does not know. utf-8, windows-1252 …") from error
    known = codecs.lookup(name).name
    if known in ("utf-16", "utf-32") and not _start(path).startswith(tuple(m for m, n in _MARKS.items() if n == known)):
        raise DataError(
            f"{path} has no byte order mark, so data.encoding {name} does not say how its bytes are ordered: set it to "
            f"{known}-le or {known}-be."
        )
    name = "utf-8-sig" if known == "utf-8" else name  # a mark, if there is one, is no text
    return Encoding(name, size=_decodable(path, name, f"{name}, as data.encoding says"))


def _without_mark(start: bytes) -> str | None:
    """UTF-16 of a script whose characters have a zero in one of their two bytes: those of Europe."""
    if start.count(0) < 0.2 * len(start):
        return None
    return "utf_16_le" if start[1::2].count(0) > start[::2].count(0) else "utf_16_be"


def _decodable(path: Path, encoding: str, what: str) -> int:
    """How many bytes a file has, which are all of this encoding."""
    if isinstance(found := _scan(path, encoding), Bad):
        raise DataError(
            f"{path} is not {what}: byte {found.at:,} ({found.value:#04x}) is none of it. Save it as UTF-8, or set "
            f"data.encoding to what it is."
        )
    return found


# Bytes that do not fit ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """The first byte that an encoding does not know, and whether text that is not ASCII came before."""

    at: int
    value: int
    after_others: bool


def _scan(path: Path, encoding: str) -> Bad | int:
    """The first byte that cannot be decoded, else how many there are."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    at, others = 0, False
    for block in _blocks(path):
        kept = decoder.getstate()[0]
        try:
            text = decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            start = kept + block
            before = start[: error.start]
            others = others or not before.isascii()
            return Bad(at - len(kept) + error.start, start[error.start], others)
        except UnicodeError:  # some codecs do not say where
            return Bad(at, block[0] if block else 0, others)
        others = others or not text.isascii()
        at += len(block)
    return at


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in blocks, an empty one at the end."""
    with _whole(path), open_bytes(path) as file:
        while block := file.read(_BLOCK):
            yield block
    yield b""


# Guesses --------------------------------------------------------------------------------------------------------


def _guessed(path: Path, bad: Bad) -> Encoding:
    sample = _telling_lines(path, bad.at)
    _refuse_damaged(path, bad, sample)
    for name in _candidates(sample):
        if isinstance(size := _scan(path, name), int):
            evidence = _evidence(sample.decode(name, "ignore"))
            return Encoding(name, f"{path.name} is {shown(name)}, read as such ('{evidence}')", size)
    raise _no_encoding(path, bad)


def shown(name: str) -> str:
    """A codec as people call it: windows-1252."""
    return name.replace("cp125", "windows-125").replace("_", "-")


def _refuse_damaged(path: Path, bad: Bad, sample: bytes) -> None:
    foreign = sum(byte > 127 for byte in sample)
    in_utf8 = sum(map(len, _MULTIBYTE.findall(sample)))
    if bad.after_others or in_utf8 > foreign / 2:
        raise DataError(
            f"{path} is UTF-8 but for byte {bad.at:,} ({bad.value:#04x}), and perhaps more. Fix it (iconv -c leaves "
            f"out what is broken), or set data.encoding."
        )


def _no_encoding(path: Path, bad: Bad) -> DataError:
    return DataError(
        f"{path} is not UTF-8 (byte {bad.at:,}: {bad.value:#04x}), and no other encoding fits. Save it as UTF-8, or "
        f"set data.encoding to what it is."
    )


def _telling_lines(path: Path, at: int) -> bytes:
    """Lines from the first bad byte on that are not ASCII."""
    with open_bytes(path) as file:
        ahead = max(0, at - 200)
        while ahead > 0:
            ahead -= len(file.read(min(_BLOCK, ahead)))
        lines = file.read(1 << 20).split(b"\n")
    return b"\n".join(line for line in lines if not line.isascii())[:_SAMPLE]


def _candidates(sample: bytes) -> Iterator[str]:
    """Windows-1252 if the sample makes sense in it, then by charset-normalizer, likeliest first.

    The library alone takes a German or French text for windows-1250, and a short one for anything.
    """
    try:
        if _implausible(sample.decode("cp1252")) <= _IMPLAUSIBLE:
            yield "cp1252"
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    words = b" ".join(word for word in sample.split() if not word.isascii())
    matches = list(from_bytes(words, cp_isolation=list(_OTHERS), enable_fallback=False))
    matches.sort(key=lambda match: (round(match.chaos, 2), -match.coherence, _OTHERS.index(match.encoding)))
    yield from (match.encoding for match in matches)


def _implausible(text: str) -> float:
    """How many of the characters that are not ASCII stand where no western language has them, as a share.

    Those are accented letters side by side, and symbols inside words: what other encodings look like in this one.
    """
    foreign = [i for i, c in enumerate(text) if ord(c) > 127]
    wrong = 0
    for i in foreign:
        before, after = text[i - 1 : i], text[i + 1 : i + 2]
        if text[i].isalpha():
            wrong += before.isalpha() and not before.isascii() and text[i] != "ß"
        elif text[i] not in _PUNCTUATION:
            around = (before + after).strip(_PUNCTUATION)
            wrong += (before.isalpha() and after.isalpha()) or (around != "" and not around.isascii())
    return wrong / max(1, len(foreign))


def _evidence(text: str) -> str:
    """The first word that is not ASCII, by which a reader can tell whether the guess was right."""
    return next((word[:20] for word in text.split() if not word.isascii()), "")
