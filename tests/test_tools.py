import csv
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

import zoo
from zoo.audio import reading

TOOLS = Path(__file__).parent.parent / "tools"


def loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(TOOLS.glob("*.py")), ids=lambda path: path.stem)
def test_every_tool_finds_what_it_imports(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = dict(os.environ)
    try:
        assert loaded(path, monkeypatch).__doc__
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_every_benchmark_is_among_all_of_them(monkeypatch: pytest.MonkeyPatch):
    every = {path.stem.removeprefix("bench_") for path in TOOLS.glob("bench_*.py")} - {"all"}
    assert loaded(TOOLS / "bench_all.py", monkeypatch).BENCHMARKS.keys() == every


def test_a_benchmark_that_fails_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    tool = loaded(TOOLS / "bench_all.py", monkeypatch)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "bench_good.py").write_text("print('zoo is 1.1 times as fast')")
    (tmp_path / "tools" / "bench_bad.py").write_text("raise SystemExit('no such tokenizer')")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    said = ["\n".join(tool.section(name, tool.Benchmark(name), None)) for name in ("bad", "good")]
    assert "It failed: no such tokenizer" in said[0]
    assert "zoo is 1.1 times as fast" in said[1]
    assert "left out" in "\n".join(tool.section("good", tool.Benchmark("good", "--text {assets}/a.txt"), None))


def test_joined_recordings_are_of_one_speaker_and_the_test_has_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [(f"{word}_{speaker}.wav", word, speaker) for word in ("एक", "दो") for speaker in ("anu", "ben", "cy")]
    (tmp_path / "words").mkdir()
    for name, word, speaker in rows:
        length = 1000 * (2 if word == "दो" else 1) + 10_000 * ["anu", "ben", "cy"].index(speaker)
        soundfile.write(tmp_path / "words" / name, np.full(length, 0.1), 8000)
    with open(tmp_path / "words" / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "text", "speaker"), *rows])
    tool = loaded(TOOLS / "join_recordings.py", monkeypatch)
    for out in ("a", "b"):
        arguments = ["tool", str(tmp_path / "words"), str(tmp_path / out), "--test", "speaker=cy", "--count", "20"]
        monkeypatch.setattr(sys, "argv", [*arguments, "--test-count", "9"])
        tool.main()
    found = {split: zoo.SpeechData(group_column="speaker").read(str(tmp_path / "a"), split, "train").samples
             for split in ("train", "test")}  # fmt: skip
    assert {split: len(samples) for split, samples in found.items()} == {"train": 20, "test": 9}
    assert {sample.speaker for sample in found["train"]} == {"anu", "ben"}
    assert {sample.speaker for sample in found["test"]} == {"cy"}
    for sample in found["train"]:
        words, wave = sample.text.split(), reading.read(sample.audio, 8000)
        spoken = sum(1000 + 1000 * (word == "दो") + 10_000 * (sample.speaker == "ben") for word in words)
        assert np.count_nonzero(wave > 0.1) == spoken
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / out / "train").iterdir()} for out in ("a", "b"))
    assert one == other
