"""SpeechData against what is on disk: every form of source, lengths, parts, speakers, and files that are broken."""

import json
import os
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hub_cache import put_rows

import zoo
from zoo.audio import reading
from zoo.errors import DataError, MissingInputError
from zoo.files import hub

RATE = 8000
SAID = ["नमस्ते दुनिया", "कि की", 'she said "go", and went', "zero one"]


def record(path: Path, seconds: float = 1.0, rate: int = RATE, level: float = 0.3, **kind: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate), rate, **kind)
    return path


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def data(source: Path | str, most: float | None = None, **kwargs: Any) -> zoo.SpeechData:
    """With a task that takes recordings of at most so many seconds."""
    module = zoo.SpeechData(**{"train": str(source), "num_workers": 0, "max_broken": 1.0, **kwargs})
    module.trainer = SimpleNamespace(lightning_module=SimpleNamespace(max_seconds=most), seed=0)
    return module


def read(source: Path | str, **kwargs: Any) -> dict[str, list[zoo.SpeechSample]]:
    """All that a source has, by split, before anything is left out."""
    module = zoo.SpeechData(**kwargs)
    splits = {split: module.read(str(source), split, "train") for split in ("train", "validation", "test")}
    return {split: found.samples for split, found in splits.items() if found is not None}


def pairs(samples: list[zoo.SpeechSample]) -> list[tuple[str, str | None]]:
    return [(Path(sample.audio).name, sample.text) for sample in samples]


def refused(source: Path | str, **kwargs: Any) -> str:
    with pytest.raises(DataError) as caught:
        data(source, validation=str(source), **kwargs).samples("train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Tables ---------------------------------------------------------------------------------------------------------


def table(path: Path, names: tuple[str, str], rows: list[tuple[str, str]]) -> Path:
    """The same rows as any kind of table."""
    found = [dict(zip(names, row, strict=True)) for row in rows]
    if path.suffix == ".jsonl":
        return write(path, "\n".join(json.dumps(row, ensure_ascii=False) for row in found))
    if path.suffix == ".json":
        return write(path, json.dumps(found, ensure_ascii=False))
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(found), path)
        return path
    separator = {".csv": ",", ".tsv": "\t"}[path.suffix]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [names, *rows]]
    return write(path, "\n".join(quoted))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("names", [("file_name", "transcription"), ("path", "sentence"), ("audio", "text")])
def test_a_table_names_recordings_and_what_is_said(tmp_path: Path, ending: str, names: tuple[str, str]):
    rows = [(f"आवाज़/{i}.wav", text) for i, text in enumerate(SAID)]
    for name, _ in rows:
        record(tmp_path / name)
    table(tmp_path / f"metadata.{ending}", names, rows)
    for source in (tmp_path, tmp_path / f"metadata.{ending}"):
        found = read(source)["train"]
        assert [(sample.audio, sample.text) for sample in found] == [(tmp_path / name, text) for name, text in rows]
        assert len(data(source, validation=str(source)).samples("train")) == 4


def test_columns_may_be_named(tmp_path: Path):
    record(tmp_path / "in" / "7.wav")
    write(tmp_path / "list.csv", "number;said;said in full\n7;eight;8\n")
    named = {"audio_column": "in/{number}.wav", "text_column": "said in full", "separator": ";"}
    (sample,) = read(tmp_path / "list.csv", **named)["train"]
    assert (sample.audio, sample.text) == (tmp_path / "in/7.wav", "8")


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path):
    path = write(tmp_path / "a.csv", "path,text\na.wav,x\n")
    for setting in ("audio_column", "text_column", "group_column"):
        said = refused(path, **{setting: "voice"})
        assert said.endswith(f"has no column 'voice' (columns: path, text). Set data.{setting} to one of them.")
    assert "has no column with a recording (columns: where, text; expected" in refused(
        write(tmp_path / "b.csv", "where,text\na.wav,x\n")
    )
    assert "has no column with transcripts (columns: path, words; expected" in refused(
        write(tmp_path / "c.csv", "path,words\na.wav,x\n")
    )


def test_a_table_among_other_files_is_found_and_metadata_is_preferred(tmp_path: Path):
    record(tmp_path / "a.wav")
    write(tmp_path / "README.md", "About.")
    write(tmp_path / "notes.txt", "More.")
    write(tmp_path / "list.csv", "path,text\na.wav,from the list\n")
    assert pairs(read(tmp_path)["train"]) == [("a.wav", "from the list")]
    write(tmp_path / "metadata.csv", "file_name,text\na.wav,from metadata\n")
    assert pairs(read(tmp_path)["train"]) == [("a.wav", "from metadata")]


def test_tables_in_folders_named_after_splits_are_the_splits(tmp_path: Path):
    for split in ("train", "dev", "test"):
        record(tmp_path / split / "a.wav")
        write(tmp_path / split / "metadata.csv", f"file_name,text\na.wav,{split}\n")
    assert {split: pairs(found) for split, found in read(tmp_path).items()} == {
        "train": [("a.wav", "train")],
        "validation": [("a.wav", "dev")],
        "test": [("a.wav", "test")],
    }


def test_recordings_inside_a_table_are_read_from_it(tmp_path: Path):
    content = record(tmp_path / "a.flac").read_bytes()
    rows = [{"audio": {"bytes": content, "path": "a.flac"}, "text": text, "speaker_id": 7} for text in SAID]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", group_column="speaker_id")["train"]
    assert [sample.text for sample in found] == SAID
    assert {sample.speaker for sample in found} == {"7"}
    assert reading.length(found[2].audio) == 1.0
    assert str(found[2]).endswith("a.parquet (train)#2")


def test_rows_may_be_parts_of_a_recording(tmp_path: Path):
    record(tmp_path / "long.wav", 10)
    rows = [{"audio": "long.wav", "text": "a", "start": 1, "end": 2.5}, {"audio": "long.wav", "text": "b", "start": 8}]
    write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = data(tmp_path / "a.jsonl", validation=str(tmp_path)).samples("train")
    assert (first.start, first.end, first.seconds) == (1, 2.5, 1.5)
    assert (second.start, second.end) == (8, 10)


def test_parts_of_a_long_recording_are_heard_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record(tmp_path / "long.wav", 1300)
    with soundfile.SoundFile(tmp_path / "long.wav", "r+") as file:
        file.seek(1000 * RATE)
        file.write(np.zeros(10 * RATE))
    rows = [{"audio": "long.wav", "text": "a", "start": start, "end": start + 10} for start in (0, 1000)]
    write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    module, decoded = data(tmp_path / "a.jsonl", validation=str(tmp_path)), []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, n=-1, **kind: decoded.append(n) or read(self, n, **kind)
    )
    assert len(module.samples("train")) == 2
    assert module.describe("train").endswith("1 silent (long.wav)")
    assert sum(decoded) == 20 * RATE


@pytest.mark.parametrize("seconds", ["late", "-1", "nan", "inf"])
def test_a_time_that_is_no_number_of_seconds_is_refused(tmp_path: Path, seconds: str):
    record(tmp_path / "a.wav")
    path = write(tmp_path / "b.csv", f"path,text,start,end\na.wav,a,{seconds},2\n")
    assert f"has '{seconds}' for 'start', which is no number of seconds; 1 of 1 rows" in refused(path)


# Layouts --------------------------------------------------------------------------------------------------------


def test_librispeechs_layout_is_read(tmp_path: Path):
    for part in ("train-clean-100/84/121123", "dev-clean/7/1"):
        _, speaker, chapter = part.split("/")
        record(tmp_path / part / f"{speaker}-{chapter}-0000.flac")
        record(tmp_path / part / f"{speaker}-{chapter}-0001.flac")
        lines = f"{speaker}-{chapter}-0000 GO DO YOU HEAR\n{speaker}-{chapter}-0001 BUT IN LESS\n"
        write(tmp_path / part / f"{speaker}-{chapter}.trans.txt", lines)
    write(tmp_path / "SPEAKERS.TXT", "14 | F | train-clean-360 |")
    found = read(tmp_path, group_column="speaker")
    assert pairs(found["train"]) == [("84-121123-0000.flac", "GO DO YOU HEAR"), ("84-121123-0001.flac", "BUT IN LESS")]
    assert [sample.speaker for sample in found["validation"]] == ["7", "7"]
    (tmp_path / "dev-clean/7/1/7-1-0001.flac").unlink()
    with pytest.raises(DataError, match=r"7-1\.trans\.txt line 2: there is no recording 7-1-0001 beside it"):
        read(tmp_path)


def test_common_voices_layout_is_read(tmp_path: Path):
    header = "client_id\tpath\tsentence\tup_votes\n"
    for split in ("train", "dev", "test"):
        record(tmp_path / "clips" / f"{split}.mp3")
        write(tmp_path / f"{split}.tsv", f'{header}x1\t{split}.mp3\t"Stop, he said.\t2\n')
    write(tmp_path / "other.tsv", f"{header}x2\tother.mp3\tNo.\t0\n")
    found = read(tmp_path, group_column="client_id")
    assert [pairs(found[split]) for split in found] == [
        [(f"{split}.mp3", '"Stop, he said.')] for split in ("train", "dev", "test")
    ]
    assert found["train"][0].audio == tmp_path / "clips" / "train.mp3"
    assert found["train"][0].speaker == "x1"
    assert pairs(read(tmp_path / "dev.tsv")["train"]) == [("dev.mp3", '"Stop, he said.')]
    module = data(tmp_path)
    module.samples("train")
    assert "not used: other.tsv" in module.describe("train")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_beside_each_recording_is_its_transcript(tmp_path: Path, encoding: str):
    for i, text in enumerate(SAID):
        record(tmp_path / "में" / f"{i}.wav")
        write(tmp_path / "में" / f"{i}.txt", f"{text}\n".encode(encoding))
    record(tmp_path / "में" / "9.wav")
    assert pairs(read(tmp_path)["train"]) == [*[(f"{i}.wav", text) for i, text in enumerate(SAID)], ("9.wav", None)]
    module = data(tmp_path, validation=str(tmp_path))
    assert len(module.samples("train")) == 4
    assert module.describe("train") == f"{tmp_path}: 4 recordings, 4.0 s, 1 without a transcript"


SRT = """1
00:00:01,000 --> 00:00:04,500
<i>नमस्ते</i>
दुनिया

2
00:00:05,000 --> 00:00:09,000
{\\an8}second

3
00:01:00,000 --> 00:01:02,250
third
"""
TIMES = ((1.0, 4.5, "नमस्ते दुनिया"), (5.0, 9.0, "second"), (60.0, 62.25, "third"))


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("srt", SRT),
        ("srt", "\ufeff" + SRT.replace("\n", "\r\n")),
        ("vtt", "WEBVTT\n\nNOTE made by hand\n\n" + SRT.replace(",", ".").replace("00:01:00", "01:00")),
        ("json", json.dumps({"text": "", "segments": [{"start": a, "end": b, "text": f" {t}"} for a, b, t in TIMES]})),
    ],
)
def test_subtitles_beside_a_recording_say_when_what_is_said(tmp_path: Path, ending: str, content: str):
    record(tmp_path / "a.wav", 70)
    write(tmp_path / f"a.{ending}", content)
    (sample,) = read(tmp_path)["train"]
    assert sample.times == TIMES
    assert sample.text == "नमस्ते दुनिया second third"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.srt", "Hello\n", "has no line like 00:00:01,000 --> 00:00:04,000"),
        ("a.srt", "1\n00:00:05,000 --> 00:00:01,000\nx\n", "has a segment from 5 s to 1 s; expected an end after"),
        ("a.json", '{"text": "x"}', "expected Whisper's JSON, with a list of segments"),
        ("a.json", '{"segments": [{"start": "x"}]}', 'has a segment {"start": "x"}; expected start, end'),
    ],
)
def test_subtitles_that_are_none_are_named(tmp_path: Path, name: str, content: str, why: str):
    record(tmp_path / "a.wav")
    write(tmp_path / name, content)
    assert why in refused(tmp_path)


def test_a_single_recording_a_glob_and_a_list_can_be_predicted(tmp_path: Path):
    for name in ("a.wav", "b.wav", "c.flac"):
        record(tmp_path / name)
    write(tmp_path / "list.txt", "a.wav\n\nc.flac\n")
    for source, names in {
        "a.wav": ["a.wav"],
        "*.wav": ["a.wav", "b.wav"],
        "list.txt": ["a.wav", "c.flac"],
        ".": ["a.wav", "b.wav", "c.flac"],
    }.items():
        found = data("none", predict=str(tmp_path / source)).samples("predict")
        assert [Path(sample.audio).name for sample in found] == names
        assert {(sample.text, sample.seconds) for sample in found} == {(None, 1.0)}


def test_a_table_to_predict_needs_no_transcripts(tmp_path: Path):
    record(tmp_path / "a.wav")
    write(tmp_path / "a.csv", "path,date\na.wav,today\n")
    assert len(data("none", predict=str(tmp_path / "a.csv")).samples("predict")) == 1


@pytest.mark.parametrize("source", ["nowhere/", "a.wav", "list.csv", "*.wav", "python:zoo.audio.synthesis.nothing"])
def test_a_source_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError, match=r"nowhere|a\.wav|list\.csv|\*\.wav|nothing"):
        read(source)


def test_a_folder_without_recordings_is_said_to_have_none(tmp_path: Path):
    write(tmp_path / "a.txt", "x")
    assert "has no recordings in it (.3gp, .aac," in refused(tmp_path)


# The hub --------------------------------------------------------------------------------------------------------


def on_the_hub(tmp_path: Path) -> str:
    hub.load_dataset.cache_clear()
    features = datasets.Features(
        {
            "path": datasets.Value("string"),
            "audio": datasets.Audio(sampling_rate=16000),
            "transcription": datasets.Value("string"),
            "speaker_id": datasets.Value("int64"),
            "intent": datasets.ClassLabel(names=["pay", "ask"]),
        }
    )
    content = record(tmp_path / "a.mp3", rate=44100).read_bytes()
    audio = {"bytes": content, "path": "a.mp3"}
    rows = [
        {"path": f"{i}.mp3", "audio": audio, "transcription": text, "speaker_id": i % 2, "intent": i % 2}
        for i, text in enumerate(SAID)
    ]
    put_rows("someone/minds", "hi", {"train": rows, "test": rows[:1]}, features)
    return "someone/minds"


def test_a_data_set_of_the_hub_is_decoded_by_us_at_its_own_rate(tmp_path: Path):
    found = read(on_the_hub(tmp_path), subset="hi", group_column="speaker_id")
    assert [sample.text for sample in found["train"]] == SAID
    assert [sample.speaker for sample in found["train"]] == ["0", "1", "0", "1"]
    assert len(found["test"]) == 1
    assert len(reading.read(found["train"][1].audio, 16000)) == pytest.approx(16000, abs=1200)


def test_recordings_inside_a_table_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = on_the_hub(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    first = data(name, subset="hi").samples("test")
    monkeypatch.setattr(reading, "length", None)
    monkeypatch.setattr(reading, "peak", None)
    again = data(name, subset="hi").samples("test")
    assert [(sample.text, sample.end) for sample in again] == [(sample.text, sample.end) for sample in first]


def test_recordings_of_the_hub_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = on_the_hub(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    module = data(name, subset="hi", group_column="speaker_id")
    assert len(module.samples("test")) == 1
    assert not list((tmp_path / "cache").rglob("*.arrow"))


# Lengths --------------------------------------------------------------------------------------------------------


def lengths(folder: Path, *seconds: float) -> Path:
    for i, length in enumerate(seconds):
        record(folder / f"{i}.wav", length)
        write(folder / f"{i}.txt", f"number {i}")
    return folder


def test_recordings_that_are_too_short_or_too_long_are_left_out_and_counted(tmp_path: Path):
    lengths(tmp_path, 0.05, 0.5, 3, 4, 5)
    module = data(tmp_path, 3.5, validation=str(tmp_path))
    assert [sample.seconds for sample in module.samples("train")] == [0.5, 3]
    assert module.describe("train") == (
        f"{tmp_path}: 2 recordings, 3.5 s, 1 shorter than 0.1 s, 2 longer than 3.5 s without times to cut them by"
    )


def test_the_settings_decide_before_the_task(tmp_path: Path):
    lengths(tmp_path, 1, 3, 5)
    module = data(tmp_path, 3.5, validation=str(tmp_path), min_seconds=2, max_seconds=9)
    assert [sample.seconds for sample in module.samples("train")] == [3, 5]


def test_what_is_to_be_predicted_has_any_length(tmp_path: Path):
    lengths(tmp_path, 0.05, 60)
    assert len(data("none", 30, predict=str(tmp_path)).samples("predict")) == 2


def test_where_nothing_is_left_the_counts_say_why(tmp_path: Path):
    lengths(tmp_path, 4, 5)
    assert refused(tmp_path, max_seconds=3) == (
        "data.train: nothing is left of 2 recordings: 2 longer than 3 s without times to cut them by."
    )


def test_where_there_are_no_transcripts_it_is_said_where_they_belong(tmp_path: Path):
    record(tmp_path / "a.wav")
    assert refused(tmp_path) == (
        "data.train: nothing is left of 1 recordings: 1 without a transcript. A transcript is a .txt, .srt or .vtt of "
        "the same name beside a recording, or a cell of a table."
    )


def test_a_long_recording_is_cut_where_its_transcript_has_times(tmp_path: Path):
    record(tmp_path / "a.wav", 70)
    write(tmp_path / "a.srt", SRT)
    module = data(tmp_path, 30, validation=str(tmp_path))
    parts = module.samples("train")
    assert [(part.start, part.end, part.text) for part in parts] == [
        (1.0, 9.0, "नमस्ते दुनिया second"),
        (60.0, 62.25, "third"),
    ]
    assert [str(part).rpartition("/")[2] for part in parts] == ["a.wav at 1 s", "a.wav at 60 s"]
    assert parts[0].times == TIMES[:2]
    assert module.describe("train").endswith("2 recordings, 10.2 s, 1 longer than 30 s cut into parts")


def test_the_parts_of_a_recording_stay_on_one_side(tmp_path: Path):
    for i in range(10):
        record(tmp_path / f"{i}.wav", 70)
        write(tmp_path / f"{i}.srt", SRT)
    module = data(tmp_path, 30, validation_fraction=0.3)
    sides = [{sample.audio for sample in module.samples(split)} for split in ("train", "validation")]
    assert [len(side) for side in sides] == [7, 3]
    assert not sides[0] & sides[1]


def test_a_segment_that_is_too_long_or_lies_outside_is_counted(tmp_path: Path):
    record(tmp_path / "a.wav", 50)
    rows = [(0, 40, "too long"), (41, 44, "fits"), (60, 62, "outside")]
    segments = [{"start": start, "end": end, "text": text} for start, end, text in rows]
    write(tmp_path / "a.json", json.dumps({"segments": segments}))
    module = data(tmp_path, 30, validation=str(tmp_path))
    assert [part.text for part in module.samples("train")] == ["fits"]
    assert "2 segments longer than 30 s or outside of their recording" in module.describe("train")


def test_segments_may_be_in_a_table(tmp_path: Path):
    record(tmp_path / "a.wav", 70)
    segments = [{"start": start, "end": end, "text": text} for start, end, text in TIMES]
    write(tmp_path / "a.jsonl", json.dumps({"audio": "a.wav", "segments": segments}))
    (sample,) = read(tmp_path / "a.jsonl")["train"]
    assert sample.times == TIMES
    assert len(data(tmp_path / "a.jsonl", 30, validation=str(tmp_path)).samples("train")) == 2


# Speakers -------------------------------------------------------------------------------------------------------


def people(folder: Path, counts: dict[str, int]) -> Path:
    rows = [(f"{name}{i}.wav", name) for name, count in counts.items() for i in range(count)]
    for name, _ in rows:
        record(folder / name, 0.2)
    return write(folder / "metadata.csv", "file_name,text,speaker\n" + "".join(f"{n},x,{s}\n" for n, s in rows))


def test_whole_speakers_are_held_out_and_it_is_said(tmp_path: Path):
    path = people(tmp_path, dict.fromkeys("abcdefghij", 5))
    module = data(path, group_column="speaker", validation_fraction=0.2, test_fraction=0.1)
    sides = {split: Counter(s.speaker for s in module.samples(split)) for split in ("train", "validation", "test")}
    assert {split: set(side.values()) for split, side in sides.items()} == {split: {5} for split in sides}
    assert [len(side) for side in sides.values()] == [7, 2, 1]
    assert not set.intersection(*(set(side) for side in sides.values()))
    assert sum(map(len, sides.values())) == 10
    assert (
        module.describe("validation")
        == f"20% (whole values of speaker) of {path}: 10 recordings, 2.0 s, 2 values of speaker"
    )


def test_no_part_takes_the_last_speaker(tmp_path: Path):
    module = data(people(tmp_path, {"a": 50, "b": 1, "c": 1}), group_column="speaker", test_fraction=0.3)
    assert all(module.samples(split) for split in ("train", "validation", "test"))


def test_too_few_speakers_to_hold_one_out_are_said_to_be_too_few(tmp_path: Path):
    with pytest.raises(DataError, match=r"has 1 of 'speaker', and 2 are needed to hold out whole ones\. Set data\."):
        data(people(tmp_path, {"a": 3}), group_column="speaker").samples("train")


def test_folders_can_be_speakers(tmp_path: Path):
    for name in ("अनु", "ben", "cy"):
        lengths(tmp_path / name / "2024", 1, 1)
    module = data(tmp_path, group_column="folder")
    assert len({sample.speaker for sample in module.samples("train")}) == 2
    assert len({sample.speaker for sample in module.samples("validation")}) == 1
    assert "data.group_column may be folder: the first one below" in refused(tmp_path, group_column="speaker")


def test_without_groups_recordings_are_divided_one_by_one(tmp_path: Path):
    module = data(people(tmp_path, {"a": 10, "b": 10}), validation_fraction=0.25, limit=7)
    sides = [{str(sample) for sample in module.samples(split)} for split in ("train", "validation")]
    assert [len(side) for side in sides] == [7, 5]
    assert not sides[0] & sides[1]


# Broken ---------------------------------------------------------------------------------------------------------


def a_folder_of_all_kinds(folder: Path) -> Path:
    """What a folder of one's own may hold."""
    record(folder / "eight_bit.wav", 2, subtype="PCM_U8")
    record(folder / "twenty_four_bit.wav", 2, subtype="PCM_24")
    record(folder / "studio.wav", 2, rate=96000)
    record(folder / "stereo.wav", 2)
    soundfile.write(folder / "stereo.wav", np.full((16000, 2), 0.1), RATE)
    record(folder / "hour.flac", 3600)
    record(folder / "silent.wav", 2, level=0)
    record(folder / "cut_off.wav", 2)
    os.truncate(folder / "cut_off.wav", 1000)
    record(folder / "cut_off.mp3", 10)
    os.truncate(folder / "cut_off.mp3", 5000)
    write(folder / "empty.wav", "")
    write(folder / "words.mp3", "not a recording")
    wave = np.zeros(RATE, np.float32)
    wave[4000] = np.nan
    soundfile.write(folder / "nan.wav", wave, RATE, subtype="FLOAT")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    record(folder / "unheard.wav")
    rows = [(path.name, "" if path.stem == "unheard" else f"text of {path.stem}") for path in sorted(folder.iterdir())]
    write(folder / "metadata.csv", "file_name,text\n" + "".join(f"{name},{text}\n" for name, text in rows))
    return folder


def test_of_a_folder_of_all_kinds_everything_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = a_folder_of_all_kinds(tmp_path)
    module = data(folder, 30, validation=str(folder))
    kept = {Path(sample.audio).name: sample.seconds for sample in module.samples("train")}
    assert kept == dict.fromkeys(
        ["eight_bit.wav", "silent.wav", "stereo.wav", "studio.wav", "twenty_four_bit.wav"], 2.0
    )
    assert module.describe("train").removeprefix(f"{folder}: ") == (
        "5 recordings, 10.0 s, 1 silent (silent.wav), 1 longer than 30 s without times to cut them by, "
        "1 without a transcript"
    )
    lines = capsys.readouterr().out.replace(f"{folder}/", "").splitlines()
    said = [re.sub(r"off: \d+%", "off: some", line) for line in lines]
    assert said == [
        "data: train: left out cut_off.mp3: it is cut off: some of what its header promises",
        "data: train: left out cut_off.wav: it is cut off: 0.1 s of the 2.0 s that its header promises",
        "data: train: left out empty.wav: it is empty",
        "data: train: left out folder.wav: it is not a regular file",
        "data: train: left out nan.wav: it has NaN or infinity at 0.50 s",
        "data: train: left out pipe.wav: it is not a regular file",
        "data: train: left out words.mp3: it is no recording, is damaged, or is of no known format",
    ]


def test_transcripts_that_are_too_long_for_their_recordings_are_listed(tmp_path: Path):
    lengths(tmp_path, 1, 1, 1)
    write(tmp_path / "1.txt", "क" * 41)
    module = data(tmp_path, validation=str(tmp_path))
    assert len(module.samples("train")) == 3
    assert module.describe("train").endswith("1 with over 40 letters a second, which nobody speaks (1.wav)")


def test_too_many_broken_ones_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = a_folder_of_all_kinds(tmp_path / "all")
    with pytest.raises(DataError, match=r"data\.train: 7 of 14 samples cannot be read .* data\.max_broken"):
        data(folder, 30, validation=str(folder), max_broken=0.001).samples("train")


def test_files_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lengths(tmp_path / "a", 1, 2)
    looked: list[Any] = []
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for name in ("length", "peak"):
        real = getattr(reading, name)
        monkeypatch.setattr(reading, name, lambda audio, *rest, real=real: looked.append(audio) or real(audio, *rest))
    first = data(tmp_path / "a", validation=str(tmp_path / "a")).samples("train")
    assert len(looked) == 4
    assert data(tmp_path / "a", validation=str(tmp_path / "a")).samples("train") == first
    assert len(looked) == 4
    record(tmp_path / "a" / "0.wav", 5)
    assert [s.seconds for s in data(tmp_path / "a", validation=str(tmp_path / "a")).samples("train")] == [5, 2]
    assert len(looked) == 6


def test_columns_of_the_training_table_are_not_asked_of_what_is_transcribed(tmp_path: Path):
    """A run keeps data.group_column and data.text_column, and predicts from a recording that has neither."""
    one = record(tmp_path / "मेरी आवाज़" / "x.wav")
    for source in (one, one.parent, write(tmp_path / "list.txt", f"{one}\n")):
        module = data("nothing", predict=str(source), group_column="speaker", text_column="said")
        assert [sample.speaker for sample in module.samples("predict")] == [None]
