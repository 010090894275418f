"""Transcripts as files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from zoo.audio import subtitles, transcripts

SEGMENTS: list[dict[str, Any]] = [
    {"start": 0.0, "end": 1.5, "text": "नमस्ते, दुनिया"},
    {"start": 3661.25, "end": 3662.0, "text": "a < b & c"},
]
TIMES = tuple((s["start"], s["end"], s["text"]) for s in SEGMENTS)


def test_subtitles_are_read_again_as_they_were_written():
    assert subtitles.parse(transcripts.srt(SEGMENTS)) == TIMES
    assert "01:01:01,250 --> 01:01:02,000" in transcripts.srt(SEGMENTS)
    web = transcripts.vtt(SEGMENTS)
    assert web.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nनमस्ते")
    assert "a &lt; b &amp; c" in web


def test_a_time_is_rounded_into_the_next_minute():
    assert "00:01:00,000" in transcripts.srt([{"start": 59.9996, "end": 61.0, "text": "x"}])


def test_every_recording_has_its_files_and_rows(tmp_path: Path):
    for number, path in enumerate(["a/x.wav", "b/x.wav", "हिन्दी.mp3"]):
        transcripts.write({"path": path, "text": "…", "segments": SEGMENTS[: number + 1]}, tmp_path, number)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"x.srt", "x_1.srt", "हिन्दी.srt", "x.vtt", "x.txt", "metadata.csv"} <= names
    with open(tmp_path / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == ["a/x.wav", "b/x.wav", "b/x.wav", "हिन्दी.mp3", "हिन्दी.mp3"]
    assert (tmp_path / "हिन्दी.txt").read_text("utf-8") == "नमस्ते, दुनिया\na < b & c\n"


def test_a_new_prediction_begins_the_table_anew(tmp_path: Path):
    for _ in range(2):
        transcripts.write({"path": "x.wav", "text": "", "segments": SEGMENTS}, tmp_path, 0)
    assert len((tmp_path / "metadata.csv").read_text("utf-8").splitlines()) == 3


def test_with_times_of_words_a_recording_is_drawn(tmp_path: Path):
    soundfile.write(tmp_path / "x.wav", np.sin(np.arange(24_000) / 5), 8000)
    words = [{"word": "हिन्दी", "start": 0.2, "end": 1.0}, {"word": "later", "start": 99.0, "end": 99.5}]
    segment = {"start": 0.2, "end": 99.5, "text": "हिन्दी later", "words": words}
    transcripts.write({"path": str(tmp_path / "x.wav"), "text": "", "segments": [segment]}, tmp_path / "out", 0)
    with Image.open(tmp_path / "out" / "x.png") as image:
        assert image.width > 300
