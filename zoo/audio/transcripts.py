"""Transcripts as files: subtitles (.srt, .vtt), text, and a table to correct by hand and to train on."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.audio import drawing, reading
from zoo.files.paths import write_text

TABLE = "metadata.csv"
_RATE = 16_000
"""Of recordings as they are drawn."""


def srt(segments: Iterable[dict[str, Any]]) -> str:
    """SubRip: numbered, with a comma in times."""
    blocks = (
        f"{i}\n{_time(s['start'], ',')} --> {_time(s['end'], ',')}\n{s['text']}\n" for i, s in enumerate(segments, 1)
    )
    return "\n".join(blocks)


def vtt(segments: Iterable[dict[str, Any]]) -> str:
    """WebVTT, for players in browsers."""
    blocks = (f"\n{_time(s['start'], '.')} --> {_time(s['end'], '.')}\n{_escaped(s['text'])}\n" for s in segments)
    return "WEBVTT\n" + "".join(blocks)


def _time(seconds: float, point: str) -> str:
    milliseconds = round(1000 * max(0.0, seconds))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def write(prediction: dict[str, Any], folder: Path, number: int) -> None:
    """A recording's .srt, .vtt and .txt, and its segments as rows of metadata.csv; with times of words, an image.

    Args:
        prediction: with `path`, `text` and `segments`.
        number: of the recording. The first one begins the table anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, segments = Path(prediction["path"]), prediction["segments"]
    name = path.stem if number == 0 or not (folder / f"{path.stem}.txt").exists() else f"{path.stem}_{number}"
    write_text(folder / f"{name}.srt", srt(segments))
    write_text(folder / f"{name}.vtt", vtt(segments))
    write_text(folder / f"{name}.txt", "".join(f"{segment['text']}\n" for segment in segments))
    if path.is_file() and (words := [word for segment in segments for word in segment.get("words", ())]):
        drawing.words_over_time(reading.read(path, _RATE, 0.0, drawing.SECONDS), _RATE, words, folder / f"{name}.png")
    where = str(path.absolute()) if path.exists() else str(path)
    with open(folder / TABLE, "a" if number else "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        if not number:
            table.writerow(["file_name", "start", "end", "text"])
        table.writerows([where, segment["start"], segment["end"], segment["text"]] for segment in segments)


def written(folder: Path) -> list[Path]:
    """What there is to look at."""
    return [folder, folder / TABLE] if (folder / TABLE).exists() else []
