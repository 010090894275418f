"""Whisper's tokens: prompts, transcripts with and without timestamps, and back."""

from itertools import pairwise
from typing import Any

import pytest

from zoo.audio import whisper_text
from zoo.audio.whisper_text import Prompt
from zoo.models import whisper

HINDI = "हिन्दी में कि और की"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return whisper.train_tokenizer([" the quick brown fox", HINDI], 280)


@pytest.fixture(scope="module")
def prompt(tokenizer: Any) -> Prompt:
    config = whisper.make_config({}, tokenizer)
    return whisper.prompt(tokenizer, config, whisper.make_generation(config, tokenizer, True), "hindi", "transcribe")


def test_the_prompt_is_that_of_transformers(tokenizer: Any, prompt: Prompt):
    for task in ("transcribe", "translate"):
        for timestamps in (False, True):
            tokenizer.set_prefix_tokens(language="hi", task=task, predict_timestamps=timestamps)
            config = whisper.make_config({}, tokenizer)
            generation = whisper.make_generation(config, tokenizer, True)
            ours = whisper.prompt(tokenizer, config, generation, "hi", task)  # type: ignore[arg-type]
            assert ours.tokens(timestamps) == tokenizer.prefix_tokens


def test_a_transcript_comes_back_whole_in_any_script(tokenizer: Any, prompt: Prompt):
    for text in (HINDI, "the fox", "日本語"):
        ids = whisper_text.transcript(tokenizer, prompt, text)
        assert ids[-1] == prompt.end
        assert whisper_text.decoded(tokenizer, ids) == text


def test_segments_come_back_with_their_times(tokenizer: Any, prompt: Prompt):
    times = [(0.0, 1.46, HINDI), (1.46, 2.5, "the fox"), (3.01, 9.0, "quick")]
    ids = whisper_text.timed_transcript(tokenizer, prompt, times, 5.0)
    found = whisper_text.segments(tokenizer, prompt, ids[:-1], 5.0)
    assert [(s["start"], s["end"], s["text"]) for s in found] == [
        (0.0, 1.46, HINDI), (1.46, 2.5, "the fox"), (pytest.approx(3.0, abs=0.021), 5.0, "quick"),
    ]  # fmt: skip


def test_a_segment_without_an_end_goes_on_until_the_recordings(tokenizer: Any, prompt: Prompt):
    ids = [prompt.first_timestamp + 10, *tokenizer.encode(" the fox", add_special_tokens=False)]
    assert whisper_text.segments(tokenizer, prompt, ids, 4.0) == [{"start": 0.2, "end": 4.0, "text": "the fox"}]
    assert whisper_text.segments(tokenizer, prompt, [], 4.0) == []


def test_words_are_whole_and_make_up_the_text(tokenizer: Any, prompt: Prompt):
    ids = whisper_text.transcript(tokenizer, prompt, HINDI)[:-1]
    times = [0.1 * (i + 1) for i in range(len(ids))]
    found = whisper_text.words(tokenizer, prompt, ids, times)
    assert [word["word"] for word in found] == HINDI.split()
    assert found[0]["start"] == 0.0
    assert found[-1]["end"] == pytest.approx(times[-1], abs=0.01)
    assert all(a["end"] <= b["start"] for a, b in pairwise(found))


def test_languages_without_spaces_get_none(tokenizer: Any):
    japanese = Prompt(1000, (), 1001, 0, "ja")
    ids = whisper_text.transcript(tokenizer, japanese, "日本")[:-1]
    assert tokenizer.decode(ids) == "日本"
    assert [w["word"] for w in whisper_text.words(tokenizer, japanese, ids, [0.0] * len(ids))] == ["日", "本"]
