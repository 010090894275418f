"""Spoken words without a download: espeak-ng and its voices, out of the wheel espeakng-loader.

The wheel is an extra, and its licence is GPL-3. What is spoken lies in the cache, and is the same each time.
"""

import importlib.metadata
import io
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
import soxr

from zoo.audio import espeak
from zoo.errors import ConfigError
from zoo.files import cache
from zoo.files.forms import Cell
from zoo.samples import SpeechSample

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en", "en-US", "en-US-nyc", "en-029", "en-GB-scotland", "en-GB-x-rp", "en-GB-x-gbclan", "en-GB-x-gbcwmd")
_NAMES = (
    "Alex Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen Reed adam "
    "anika antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 f4 gustave ian iven iven2 john "
    "kaukovalta linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 norbert pablo paul pedro quincy rob "
    "robert shelby steph steph2 steph3 travis zac"
)
VOICES = tuple(_NAMES.split())
"""espeak-ng's, without those that whisper, croak, are robots, or have a breath that is another one each time."""
RATE = 16000
_COUNT = 3000
_AT_ONCE = 250
_PACKAGE = "espeakng-loader"
_ROWS = pa.schema([("audio", pa.binary()), ("text", pa.string()), ("voice", pa.string())])


def spoken_digits() -> list[SpeechSample]:
    """Three thousand strings of one to five digits ("seven zero eight"), each by one of 65 voices in one of 8 accents.

    Raises:
        ConfigError: the wheel is not installed.
        DataError: its library does not work here.
    """
    try:
        version = importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(
            "the voices of espeak-ng (GPL-3) are not installed. Run uv sync --extra speech-synth, or pip install "
            f"{_PACKAGE}."
        ) from error
    name = cache.key([_PACKAGE, version, WORDS, ACCENTS, VOICES, RATE, _COUNT])
    table = cache.table("spoken", name, _spoken)
    texts, voices = (table.column(column).to_pylist() for column in ("text", "voice"))
    return [
        SpeechSample(Cell(table, "audio", i, name), text, f"{voice} {i}", speaker=voice)
        for i, (text, voice) in enumerate(zip(texts, voices, strict=True))
    ]


def _spoken(facts: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    print(f"data: espeak-ng speaks {_COUNT:,} strings of digits, which are kept in the cache.", flush=True)
    draw = random.Random(0)
    said = [_utterance(VOICES[i % len(VOICES)], draw) for i in range(_COUNT)]
    waves, rate = espeak.spoken(said)
    for start in range(0, _COUNT, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        files = [_file(wave, rate) for wave in waves[some]]
        voices = [one["voice"].partition("+")[2] for one in said[some]]
        yield pa.record_batch([files, [one["text"] for one in said[some]], voices], schema=_ROWS)


def _utterance(voice: str, draw: random.Random) -> dict[str, Any]:
    text = " ".join(draw.choices(WORDS, k=draw.randint(1, 5)))
    ranges = {"pitch": (20, 80), "words_per_minute": (115, 235), "spread": (30, 70)}
    how = {name: draw.randint(*between) for name, between in ranges.items()}
    return {"text": text, "voice": f"gmw/{draw.choice(ACCENTS)}+{voice}", **how}


def _file(wave: np.ndarray, rate: int) -> bytes:
    """A FLAC file of [n] int16."""
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(wave, rate, RATE), RATE, format="FLAC")
    return buffer.getvalue()
