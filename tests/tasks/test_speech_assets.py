"""Real Whisper on real speech: the same error rates and texts as plain transformers."""

import csv
import os
from functools import partial
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import torch
from contract_cases import trainer
from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

import zoo
from zoo.audio import reading

pytestmark = pytest.mark.assets
ASSETS = Path(os.environ.get("ZOO_ASSETS", ""))
WHISPER, PROMPTS, SPEECH = (ASSETS / name for name in ("whisper-tiny.en", "asterisk-en", "jfk.flac"))


@pytest.fixture(scope="module", autouse=True)
def assets() -> None:
    if not (os.environ.get("ZOO_ASSETS") and WHISPER.is_dir() and PROMPTS.is_dir() and SPEECH.is_file()):
        pytest.skip("ZOO_ASSETS has no whisper-tiny.en, asterisk-en and jfk.flac")


@pytest.fixture(scope="module")
def task() -> zoo.SpeechSeq2Seq:
    made = zoo.SpeechSeq2Seq(optimizer=partial(torch.optim.AdamW, lr=1e-5), pretrained=str(WHISPER))
    made.configure_model()
    return made.eval()


def test_the_word_error_rate_is_that_of_plain_transformers(task: zoo.SpeechSeq2Seq, tmp_path: Path):
    with open(PROMPTS / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:16]
    table = tmp_path / "metadata.csv"
    with open(table, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["file_name", "text"], *([PROMPTS / r["file_name"], r["text"]] for r in rows)])
    trainer(1).test(task, datamodule=zoo.SpeechData(test=str(table), batch_size=8, num_workers=0), verbose=False)
    processor = WhisperProcessor.from_pretrained(WHISPER)
    network = WhisperForConditionalGeneration.from_pretrained(WHISPER, dtype=torch.float32).eval()
    waves = [reading.read(PROMPTS / row["file_name"], 16_000) for row in rows]
    features = processor.feature_extractor(waves, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        ids = torch.nn.utils.rnn.pad_sequence(
            [network.generate(features[i : i + 1])[0] for i in range(len(rows))], True, processor.tokenizer.eos_token_id
        )
    heard = [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    said = [row["text"] for row in rows]
    normalise = processor.tokenizer.normalize
    assert task.last_metrics["wer"] == pytest.approx(jiwer.wer(said, heard))
    assert task.last_metrics["wer_normalised"] == pytest.approx(
        jiwer.wer([normalise(text) for text in said], [normalise(text) for text in heard])
    )
    assert task.last_metrics["never_stopped"] == 0


def test_a_speech_is_transcribed_as_by_a_pipeline_with_times_of_words(task: zoo.SpeechSeq2Seq, tmp_path: Path):
    task.save_model(tmp_path)
    wave = reading.read(SPEECH, 16_000)
    plain = pipeline("automatic-speech-recognition", str(tmp_path))(wave.copy(), return_timestamps=True)
    task.word_times = True
    found = task.predict(str(SPEECH))[0]
    task.word_times = False
    assert found["text"].split() == plain["text"].split()
    words = [word for segment in found["segments"] for word in segment["words"]]
    assert " ".join(word["word"] for word in words) == found["text"]
    timed = pipeline("automatic-speech-recognition", str(tmp_path))(wave.copy(), return_timestamps="word")["chunks"]
    assert [word["word"] for word in words] == [chunk["text"].strip() for chunk in timed]
    for word, chunk in zip(words, timed, strict=True):
        assert (word["start"], word["end"]) == pytest.approx(chunk["timestamp"], abs=0.021)
    country = next(word for word in words if word["word"] == "country")
    assert (country["start"], country["end"]) == pytest.approx((6.0, 6.4), abs=0.15)  # as a spectrogram shows it


def test_half_a_minute_and_more_is_heard_whole(task: zoo.SpeechSeq2Seq):
    wave = reading.read(SPEECH, 16_000)
    pause = (0.0005 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    long: Any = np.concatenate([part for _ in range(4) for part in (wave, pause)])
    found = task.predict(long)[0]
    assert found["text"].lower().count("fellow americans") == 4
    assert found["segments"][-1]["end"] == pytest.approx(len(long) / 16_000, abs=1.5)
