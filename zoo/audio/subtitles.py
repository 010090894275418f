"""What is said when, from what lies beside a recording: .srt, .vtt, or Whisper's .json."""

import json
import re
from collections.abc import Iterable
from typing import Any

Times = tuple[tuple[float, float, str], ...]
"""(start, end, text), in seconds, in the order of their beginnings."""
ENDINGS = (".srt", ".vtt", ".json")
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_SPAN = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def parse(text: str) -> Times:
    """The times of a .srt or .vtt: blocks between blank lines, each with a line `00:00:01,000 --> 00:00:04,000`.

    Raises:
        ValueError: it has no such line, or one of them ends before it begins.
    """
    found = []
    for block in re.split(r"\n[ \t]*\n", text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        at = next((i for i, line in enumerate(lines[:2]) if _SPAN.match(line)), None)
        if at is None:
            continue  # the head of a .vtt, a note, a style
        span = _SPAN.match(lines[at])
        assert span
        said = " ".join(_MARKUP.sub("", " ".join(lines[at + 1 :])).split())
        found.append((_seconds(*span.groups()[:4]), _seconds(*span.groups()[4:]), said))
    if not found:
        raise ValueError("has no line like 00:00:01,000 --> 00:00:04,000")
    return of_segments({"start": start, "end": end, "text": said} for start, end, said in found)


def of_segments(segments: Iterable[Any]) -> Times:
    """The times of segments, each an object with start, end and text, as Whisper writes them.

    Raises:
        ValueError: one is something else.
    """
    found = []
    for segment in segments:
        try:
            start, end, said = float(segment["start"]), float(segment["end"]), segment["text"]
        except (KeyError, TypeError, ValueError) as error:
            shown = json.dumps(segment, ensure_ascii=False, default=str)[:60]
            raise ValueError(f"has a segment {shown}; expected start, end (seconds) and text") from error
        if not 0 <= start <= end or not isinstance(said, str):
            raise ValueError(f"has a segment from {start:g} s to {end:g} s; expected an end after its start")
        if said.strip():
            found.append((start, end, said.strip()))
    return tuple(sorted(found))


def text_of(times: Times) -> str:
    return " ".join(said for _, _, said in times)


def pieces(times: Times, most: float, seconds: float) -> tuple[list[tuple[float, float, Times]], int]:
    """A long recording as parts of at most so many seconds, each of as many whole segments as go into it.

    Args:
        seconds: of the recording.

    Returns:
        Beginning, end and segments (in seconds of the recording) of each part; and how many segments are too long to be
        in one, or lie outside of the recording.
    """
    found: list[tuple[float, float, Times]] = []
    left_out = 0
    for segment in times:
        start, end, _ = segment
        end = min(end, seconds)
        if end - start > most or end <= start:
            left_out += 1
        elif found and end - found[-1][0] <= most:
            begin, before, inside = found[-1]
            found[-1] = (begin, max(before, end), (*inside, segment))
        else:
            found.append((start, end, (segment,)))
    return found, left_out


def _seconds(hours: str | None, minutes: str, seconds: str, rest: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(rest.ljust(3, "0")) / 1000
