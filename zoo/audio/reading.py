"""Reading recordings: any format and rate, as one channel at the rate that is wanted, and no more than the part needed.

wav, flac, ogg, opus and mp3 are decoded by libsndfile; what that does not know (m4a, webm, the sound of mp4) by
FFmpeg's libraries, which come with PyAV. torchaudio.load would need an FFmpeg that is installed.

n frames · C channels
"""

import io
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, cast

import av
import numpy as np
import soundfile
import soxr

from zoo.errors import BrokenSampleError

_SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".amr", ".wma", ".aif", ".aiff", ".au")
_OTHERS = (".caf", ".w64", ".sph", ".mka", ".mp4", ".mov", ".webm", ".mkv", ".3gp")
SUFFIXES = frozenset([*_SOUNDS, *_OTHERS])
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,aac,amr,asf,avi,flac,wav,aiff,mpegts,mpeg"
"""What FFmpeg may take a file for: it knows playlists as well, which would have it open other files."""
_MARGIN = 0.05
"""Seconds around a part that the resampler sees, so that a part has the same samples as it has in the whole."""
_PREROLL = 0.5
"""Seconds before a part that FFmpeg decodes for nothing: mp3, AAC and Opus need some before they are right."""
_SLACK = 0.5
"""Seconds that a header may promise too much: encoders fill up their last frame."""
_UNKNOWN = 0x7FFF0000
"""Sizes from here on are what programs write into a WAV of a length that they do not know yet."""
QUIET = 1e-4
"""A recording whose largest sample is below is silent: -80 dB."""


def read(
    audio: Any, rate: int, start: float = 0.0, end: float | None = None, source_rate: int | None = None
) -> np.ndarray:
    """[n] f32 at `rate`: a recording, or a part of it, channels mixed down.

    Args:
        audio: as in SpeechSample.
        rate: in Hz.
        start: in seconds.
        end: in seconds; None for the recording's own end.
        source_rate: of a waveform, in Hz; None if it has `rate`.

    Raises:
        BrokenSampleError: it cannot be read; says why.
    """
    start = max(0.0, start)
    with _explained(), _opened(audio, source_rate or rate) as source:
        step = source.rate // math.gcd(source.rate, rate)  # frames that are a whole number of frames at `rate`
        first = max(0, math.floor((start - _MARGIN) * source.rate / step)) * step
        last = None if end is None else math.ceil((end + _MARGIN) * source.rate)
        wave = _finite(source.frames(first, last), first, source.rate)
        made = soxr.resample(wave, source.rate, rate, "HQ") if source.rate != rate else wave
        before = first * rate // source.rate
        made = made[round(start * rate) - before : None if end is None else max(0, round(end * rate) - before)]
        if not len(made):
            raise BrokenSampleError(f"it has no sound {'in it' if start == 0 else f'after {start:.1f} s'}")
        return np.ascontiguousarray(made, dtype=np.float32)


def length(audio: Any, source_rate: int | None = None) -> float:
    """Seconds, as far as the header shows, which is held against the size of the file. Nothing is decoded.

    Args:
        source_rate: of a waveform, in Hz.

    Raises:
        BrokenSampleError: it cannot be read; says why.
    """
    with _explained(), _opened(audio, source_rate) as source:
        seconds = source.length()
        if seconds <= 0:
            raise BrokenSampleError("it has no sound in it")
        return seconds


def peak(audio: Any, start: float = 0.0, end: float | None = None) -> float:
    """The largest number in a recording, or in a part of it (in seconds), which is decoded for it.

    Raises:
        BrokenSampleError: it cannot be read; says why.
    """
    with _explained(), _opened(audio, None) as source:
        first, last = round(start * source.rate), None if end is None else round(end * source.rate)
        return float(np.abs(_finite(source.frames(first, last), first, source.rate)).max(initial=0))


def header(path: Path) -> str | None:
    """What is wrong with a file as far as its header shows; None for nothing."""
    try:
        length(path)
    except BrokenSampleError as error:
        return str(error)
    return None


def _finite(wave: np.ndarray, first: int, rate: int) -> np.ndarray:
    if not np.isfinite(wave).all():
        at = first + int(np.flatnonzero(~np.isfinite(wave))[0])
        raise BrokenSampleError(f"it has NaN or infinity at {at / max(1, rate):.2f} s")
    return wave


def is_silent(wave: np.ndarray) -> bool:
    return bool(np.abs(wave).max(initial=0) < QUIET)


# Opening --------------------------------------------------------------------------------------------------------


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenSampleError:
        raise
    except Exception as error:  # decoders raise what they like of a file that is cut off or malformed
        raise BrokenSampleError(_reason(error)) from error


@contextmanager
def _opened(audio: Any, waveform_rate: int | None) -> Iterator[Any]:
    """A source, with `rate`, `length()` in seconds, and `frames(first, last)`: [n] f32, mixed down."""
    audio = audio() if callable(audio) else audio
    if hasattr(audio, "__array__"):  # numpy's, or torch's
        yield _Waveform(np.asarray(audio), waveform_rate)
        return
    with _file(audio) as file:
        _check_riff(file)
        _check_xing(file)
        if (sound := _sound(file)) is not None:
            with sound:
                yield _Sound(sound, file)
            return
        with _container(file) as container:
            yield container


@contextmanager
def _container(file: IO[bytes]) -> "Iterator[_Container]":
    file.seek(0)
    with av.open(file, options={"format_whitelist": _CONTAINERS}) as container:
        yield _Container(container)


def _sound(file: IO[bytes]) -> Any:
    """What libsndfile makes of a file; None for nothing, as of a WAV whose writer did not come to note its length."""
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError:
        return None
    return sound if sound.frames else None


def _file(audio: Any) -> IO[bytes]:
    if isinstance(audio, (bytes, bytearray, memoryview)):
        size, file = len(audio), cast(IO[bytes], io.BytesIO(audio))
    else:
        path = Path(audio).expanduser()
        status = os.stat(path)
        if not S_ISREG(status.st_mode):
            raise BrokenSampleError("it is not a regular file")  # a pipe would be waited for, without end
        size, file = status.st_size, open(path, "rb")  # noqa: SIM115 - the caller closes it
    if not size:
        file.close()
        raise BrokenSampleError("it is empty")
    return file


def _check_riff(file: IO[bytes]) -> None:
    """Refuse a WAV that was cut off: libsndfile reads it as a shorter one.

    Raises:
        BrokenSampleError: its header promises more than is there.
    """
    riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
    size, at, per_second = file.seek(0, os.SEEK_END), 12, 0
    while (riff, wave) == (b"RIFF", b"WAVE") and at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"fmt ":
            per_second = struct.unpack("<8xI", file.read(12).ljust(12, b"\0"))[0]
        if name == b"data":
            there = size - at - 8
            if there < length < _UNKNOWN:
                raise BrokenSampleError(_cut_off(length / max(1, per_second), there / max(1, per_second)))
            break
        at += 8 + length + length % 2
    file.seek(0)


def _check_xing(file: IO[bytes]) -> None:
    """Refuse an mp3 that was cut off, of which libsndfile's decoder complains on the screen.

    Raises:
        BrokenSampleError: its header promises more than is there.
    """
    start = file.read(10)
    before = 0
    if start.startswith(b"ID3"):  # a title, a picture; its size has seven bits to the byte
        before = 10 + sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(start[6:10].ljust(4, b"\0")))
    size = file.seek(0, os.SEEK_END)
    file.seek(before)
    head = file.read(64)
    file.seek(0)
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if not head.startswith((b"\xff\xfb", b"\xff\xf3", b"\xff\xfa", b"\xff\xf2", b"\xff\xe3")) or at < 0:
        return
    flags = int.from_bytes(head[at + 4 : at + 8], "big")
    begin = at + 8 + 4 * (flags & 1)  # the number of frames comes first
    promised, there = int.from_bytes(head[begin : begin + 4], "big"), size - before
    if flags & 2 and there < 0.99 * promised:
        raise BrokenSampleError(f"it is cut off: {there / promised:.0%} of what its header promises")


def _cut_off(promised: float, there: float) -> str:
    return f"it is cut off: {there:.1f} s of the {promised:.1f} s that its header promises"


# Sources --------------------------------------------------------------------------------------------------------


class _Waveform:
    def __init__(self, wave: np.ndarray, rate: int | None):
        if wave.ndim != 1:
            raise BrokenSampleError(f"a waveform has one dimension, [frames]; this has {list(wave.shape)}")
        self.rate, self._wave = rate or 0, wave

    def length(self) -> float:
        if not self.rate:
            raise BrokenSampleError("a waveform without its rate; set SpeechSample.rate")
        return len(self._wave) / self.rate

    def frames(self, first: int, last: int | None) -> np.ndarray:
        wave = self._wave[first:last]
        if wave.dtype.kind not in "iu":
            return wave.astype(np.float32)
        most = float(1 << (8 * wave.itemsize - 1))
        return ((wave - (most if wave.dtype.kind == "u" else 0)) / most).astype(np.float32)


class _Sound:
    """What libsndfile decodes."""

    def __init__(self, sound: soundfile.SoundFile, file: IO[bytes]):
        self.rate, self._sound, self._file = int(sound.samplerate), sound, file

    def length(self) -> float:
        return self._sound.frames / self.rate

    def frames(self, first: int, last: int | None) -> np.ndarray:
        whole = self._sound.frames
        last = whole if last is None else min(last, whole)
        if first >= last:
            return np.zeros(0, np.float32)
        if first and self._sound.format == "MP3":  # libsndfile's decoder would complain on the screen
            with _container(self._file) as container:
                return container.frames(first, last)
        self._sound.seek(first)
        found = self._sound.read(last - first, dtype="float32", always_2d=True)
        if len(found) < last - first - _SLACK * self.rate:
            raise BrokenSampleError(_cut_off(whole / self.rate, (first + len(found)) / self.rate))
        return found.mean(1) if found.shape[1] > 1 else found[:, 0]


class _Container:
    """What FFmpeg decodes: the first sound in a container, on its clock."""

    def __init__(self, container: Any):
        if not container.streams.audio:
            raise BrokenSampleError("it has no sound in it")
        self._container, self._stream = container, container.streams.audio[0]
        self.rate = int(self._stream.rate)
        self._begin = (container.start_time or 0) / 1_000_000  # of the clock, in seconds

    def length(self) -> float:
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration is not None:
            return float(self._container.duration / 1_000_000)
        ends = [  # a browser's recorder does not know its length; packets are looked at, not decoded
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in self._container.demux(self._stream)
            if packet.pts is not None
        ]
        return max(ends, default=0.0) - self._begin

    def frames(self, first: int, last: int | None) -> np.ndarray:
        begin = first / self.rate - _PREROLL
        if begin > 0:
            self._container.seek(int((begin + self._begin) * 1_000_000))
        promised = self.length() if last is None and self._stream.duration is not None else 0.0
        planar = av.AudioResampler(format="fltp")
        parts: list[np.ndarray] = []
        origin = position = first
        for frame in self._container.decode(self._stream):
            if not parts:
                origin = position = round(((frame.time or self._begin) - self._begin) * self.rate)
            for piece in planar.resample(frame):
                parts.append(piece.to_ndarray().mean(0))
                position += len(parts[-1])
            if last is not None and position >= last:
                break
        if position < (promised - _SLACK) * self.rate:
            raise BrokenSampleError(_cut_off(promised, position / self.rate))
        before = np.zeros(max(0, origin - first), np.float32)  # the sound of a film may begin after its first frame
        wave = np.concatenate([before, *parts])[max(0, first - origin) :]
        return wave if last is None else wave[: last - first]


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError) and not isinstance(error, av.error.FFmpegError):
        return "no such file"
    if isinstance(error, (av.error.InvalidDataError, av.error.ArgumentError)):
        return "it is no recording, is damaged, or is of no known format"
    said = getattr(error, "strerror", None) or str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
