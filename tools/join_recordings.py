"""Strings of words out of recordings of single ones: "seven zero eight" of three takes of one speaker, with pauses.

    uv run python tools/join_recordings.py fsdd digits --test split=test       test takes that training has not heard
    uv run python tools/join_recordings.py fsdd digits --test speaker=george   a speaker whom training has not heard

The source is a folder with metadata.csv (file_name, text, speaker). Written are OUT/train and OUT/test, each with
recordings and a metadata.csv, which `--data.train OUT` reads. The same seed writes the same recordings.
"""

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from zoo.audio import reading

Row = dict[str, str]
_PAUSE = (0.03, 0.2)
"""Seconds between two words."""
_LEVEL = 0.5


def joined(folder: Path, words: Sequence[Row], rate: int, draw: random.Random) -> np.ndarray:
    """[n] f32: recordings one after the other, all as loud, with silence between and around them."""
    parts = [np.zeros(round(rate * draw.uniform(*_PAUSE)), np.float32)]
    for word in words:
        wave = reading.read(folder / word["file_name"], rate)
        parts += [wave * (_LEVEL / max(float(np.abs(wave).max()), 1e-6))]
        parts += [np.zeros(round(rate * draw.uniform(*_PAUSE)), np.float32)]
    return np.concatenate(parts)


def write(source: Path, rows: Sequence[Row], out: Path, count: int, most: int, seed: str) -> None:
    """Strings of these recordings into a folder."""
    out.mkdir(parents=True)
    rate = soundfile.info(source / rows[0]["file_name"]).samplerate
    speakers = {name: [row for row in rows if row["speaker"] == name] for name in sorted({r["speaker"] for r in rows})}
    draw = random.Random(seed)
    written = []
    for i in range(count):
        speaker = draw.choice([*speakers])
        words = draw.choices(speakers[speaker], k=draw.randint(1, most))
        soundfile.write(out / f"{i:05}.flac", joined(source, words, rate, draw), rate)
        written.append((f"{i:05}.flac", " ".join(word["text"] for word in words), speaker))
    with open(out / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file_name", "text", "speaker"), *written])
    print(f"{out}: {count:,} strings of {len(rows):,} recordings, {len(speakers)} speakers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", required=True, help="COLUMN=VALUE of the rows that training does not hear")
    parser.add_argument("--count", type=int, default=4000, help="strings for training")
    parser.add_argument("--test-count", type=int, default=300)
    parser.add_argument("--most", type=int, default=5, help="words of a string")
    parser.add_argument("--seed", default="0")
    args = parser.parse_args()
    column, _, value = args.test.partition("=")
    with open(args.source / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept, held = ([row for row in rows if (row[column] == value) is is_test] for is_test in (False, True))
    if not kept or not held:
        parser.error(f"{args.test} is true of {len(held):,} rows and untrue of {len(kept):,}; both need some")
    write(args.source, kept, args.out / "train", args.count, args.most, f"{args.seed} train")
    write(args.source, held, args.out / "test", args.test_count, args.most, f"{args.seed} test")


if __name__ == "__main__":
    main()
