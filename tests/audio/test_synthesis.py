"""Words that espeak-ng speaks: they are what was asked for, and the same each time."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.audio import espeak, reading, synthesis
from zoo.errors import ConfigError, DataError

SPOKEN = "python:zoo.audio.synthesis.spoken_digits"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(synthesis, "_COUNT", 65 * 2)
    return 65 * 2


def test_strings_of_digits_are_spoken_by_every_voice(few: int):
    samples = synthesis.spoken_digits()
    assert len(samples) == few
    assert {sample.speaker for sample in samples} == set(synthesis.VOICES)
    assert all(set((sample.text or "").split()) <= set(synthesis.WORDS) for sample in samples)
    assert {len((sample.text or "").split()) for sample in samples} == {1, 2, 3, 4, 5}
    waves = [reading.read(sample.audio, synthesis.RATE) for sample in samples]
    assert not any(reading.is_silent(wave) for wave in waves)
    assert all(0.1 < len(wave) / synthesis.RATE < 5 for wave in waves)


def test_a_longer_text_takes_longer(few: int):
    samples = synthesis.spoken_digits()
    words = np.array([len((sample.text or "").split()) for sample in samples])
    seconds = np.array([reading.length(sample.audio) for sample in samples])
    assert np.corrcoef(words, seconds)[0, 1] > 0.7


def test_what_is_spoken_is_the_same_each_time(few: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    first = [sample.audio() for sample in synthesis.spoken_digits()]
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "another"))
    assert [sample.audio() for sample in synthesis.spoken_digits()] == first


def test_it_is_spoken_once_and_kept(few: int, monkeypatch: pytest.MonkeyPatch):
    first = synthesis.spoken_digits()
    monkeypatch.setattr(espeak, "spoken", None)
    assert [sample.audio() for sample in synthesis.spoken_digits()] == [sample.audio() for sample in first]


def test_a_voice_that_is_not_there_is_named(few: int):
    how = {"pitch": 50, "spread": 50, "words_per_minute": 150}
    with pytest.raises(DataError, match=r"it has no voice gmw/xx\.$"):
        espeak.spoken([{"text": "एक", "voice": "gmw/xx", **how}])


def test_hindi_is_spoken_too(few: int):
    how = {"pitch": 50, "spread": 50, "words_per_minute": 150}
    waves, rate = espeak.spoken([{"text": text, "voice": "inc/hi", **how} for text in ("एक", "एक दो तीन चार")])
    assert rate == 22050
    assert len(waves[1]) > 2 * len(waves[0]) > 0


def test_without_the_wheel_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(
        ConfigError, match=r"\(GPL-3\).* uv sync --extra speech-synth, or pip install espeakng-loader\.$"
    ):
        zoo.SpeechData().read(SPOKEN, "train", "train")


def test_a_source_with_groups_names_the_voice_only_if_it_is_asked_for(few: int):
    plain = zoo.SpeechData().read(SPOKEN, "train", "train")
    grouped = zoo.SpeechData(group_column="speaker").read(SPOKEN, "train", "train")
    assert plain
    assert grouped
    assert {sample.speaker for sample in plain.samples} == {None}
    assert {sample.speaker for sample in grouped.samples} == set(synthesis.VOICES)
    with pytest.raises(ConfigError, match="group_column may be speaker"):
        zoo.SpeechData(group_column="voice").read(SPOKEN, "train", "train")
