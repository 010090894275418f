"""SpeechSeq2Seq: the traps of Whisper; the rest is the contract (test_contract.py)."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_cases import TINY_WHISPER, recordings, trainer
from torch.nn import functional as F
from transformers import WhisperForConditionalGeneration, pipeline

import zoo
from zoo.audio import reading
from zoo.audio.augment import Augmentation
from zoo.errors import ConfigError
from zoo.loop import checkpoint
from zoo.models import whisper
from zoo.samples import SpeechSample

ADAMW = partial(torch.optim.AdamW, lr=1e-2)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "tokenizer"
    whisper.train_tokenizer([" abc cab bca हिन्दी"], 270).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("speech") / "tones", 40)


@pytest.fixture(scope="module")
def saved(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny multilingual Whisper as a folder."""
    task = task_of(tokenizer, language="hi")
    task.configure_model()
    task.save_model(folder := tmp_path_factory.mktemp("whisper") / "tiny")
    return folder


def task_of(tokenizer: Path | None, **settings: Any) -> zoo.SpeechSeq2Seq:
    scratch = {"architecture": TINY_WHISPER, "tokenizer": str(tokenizer)} if tokenizer else {}
    return zoo.SpeechSeq2Seq(**{"optimizer": ADAMW, "max_tokens": 20, **scratch, **settings})


def data_of(folder: Path, **settings: Any) -> zoo.SpeechData:
    return zoo.SpeechData(**{"train": str(folder), "batch_size": 8, "num_workers": 0, **settings})


def batch_of(task: zoo.SpeechSeq2Seq, *texts: str, **sample: Any) -> dict[str, Any]:
    task.configure_model()
    processor = task.processor("train")
    wave = (0.1 * np.sin(np.arange(9000))).astype(np.float32)
    items = processor.encode([SpeechSample(wave, text, **sample) for text in texts])
    return processor.collate([processor.augment(item, torch.Generator().manual_seed(0)) for item in items])


def test_the_start_token_is_in_once_and_only_text_and_its_end_are_learned(tokenizer: Path):
    task = task_of(tokenizer, language="hi", timestamp_share=0.0)
    batch = batch_of(task, "ab", "हिन्दी में")
    prompt = task.tokenizer.convert_tokens_to_ids(
        ["<|startoftranscript|>", "<|hi|>", "<|transcribe|>", "<|notimestamps|>"]
    )
    assert batch["ids"][0, :4].tolist() == prompt
    assert task.config.decoder_start_token_id == prompt[0]
    for ids, targets, text in zip(batch["ids"], batch["targets"], ("ab", "हिन्दी में"), strict=True):
        learned = targets[targets != -100]
        assert task.tokenizer.decode(learned[:-1]) == f" {text}"
        assert learned[-1] == task.tokenizer.eos_token_id
        assert targets[:3].tolist() == [-100] * 3
        assert ids.tolist().count(prompt[0]) == 1


def test_the_end_is_learned_although_it_is_the_padding(tokenizer: Path):
    task = task_of(tokenizer, timestamp_share=0.0)
    assert task.config.pad_token_id == task.config.eos_token_id
    batch = batch_of(task, "a", "abc cab bca")
    ends = (batch["targets"] == task.config.eos_token_id).sum(1)
    assert ends.tolist() == [1, 1]


def test_the_loss_is_that_of_transformers_logits(tokenizer: Path):
    task = task_of(tokenizer, timestamp_share=0.0)
    batch = batch_of(task, "a", "abc cab bca")
    task.eval()
    total, count = task.loss(batch)
    logits = task.network(batch["features"], decoder_input_ids=batch["ids"]).logits
    wanted = batch["targets"]
    assert torch.allclose(total, F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum"), rtol=1e-5)
    assert count == (wanted != -100).sum()


def test_a_share_of_the_samples_keeps_its_timestamps(tokenizer: Path):
    task = task_of(tokenizer, timestamp_share=1.0, max_tokens=30)
    times = ((0.1, 0.3, "ab"), (0.3, 0.5, "c"))
    batch = batch_of(task, "ab c", times=times)
    text = task.tokenizer.decode(batch["ids"][0], decode_with_timestamps=True)
    assert text == "<|startoftranscript|><|0.10|> ab<|0.30|><|0.30|> c<|0.50|>"
    no_timestamps = task.prompt.no_timestamps
    assert no_timestamps not in batch["ids"]
    assert (batch["targets"][0] > no_timestamps).sum() == 4
    half = task_of(tokenizer, timestamp_share=0.5, max_tokens=30)
    half.configure_model()
    processor = half.processor("train")
    item = processor.encode([SpeechSample(np.ones(9000, np.float32), "ab")])[0]
    timed = [no_timestamps not in processor.augment(item, torch.Generator().manual_seed(s))["ids"] for s in range(200)]
    assert 70 < sum(timed) < 130
    assert no_timestamps in half.processor("validation").encode([SpeechSample(np.ones(9), "ab")])[0]["ids"]


def test_a_part_of_a_recording_has_the_times_of_the_part(tokenizer: Path):
    task = task_of(tokenizer, timestamp_share=1.0, max_tokens=30)
    task.configure_model()
    sample = SpeechSample(np.ones(64_000, np.float32), "b", start=1.0, end=1.8, times=((0, 0.9, "a"), (1.2, 1.6, "b")))
    processor = task.processor("train")
    ids = processor.augment(processor.encode([sample])[0], torch.Generator())["ids"]
    said = "<|startoftranscript|><|0.20|> b<|0.60|><|endoftext|>"
    assert task.tokenizer.decode(ids, decode_with_timestamps=True) == said


def test_times_follow_the_speed_of_the_recording(tokenizer: Path):
    task = task_of(tokenizer, timestamp_share=1.0, max_tokens=30, augmentation=Augmentation(speed=0.2))
    task.configure_model()
    processor = task.processor("train")
    item = processor.encode([SpeechSample(np.ones(14_000, np.float32), "ab", times=((0.2, 0.6, "ab"),))])[0]
    for seed in range(5):
        made = processor.augment(item, torch.Generator().manual_seed(seed))
        slower = made["seconds"] / item["seconds"]
        first = task.prompt.first_timestamp
        ticks = [0.02 * (token - first) for token in made["ids"] if token >= first]
        assert ticks == pytest.approx([0.2 * slower, 0.6 * slower], abs=0.0101)


def test_masks_leave_the_padding_as_it_is(tokenizer: Path):
    masks = Augmentation(time_masks=3, frequency_masks=2, time_mask_share=0.3)
    task = task_of(tokenizer, timestamp_share=0.0, augmentation=masks)
    batch, plain = batch_of(task, "ab"), batch_of(task_of(tokenizer, timestamp_share=0.0), "ab")
    changed = (batch["features"] != plain["features"])[0].any(0)
    assert changed.sum() > 0
    assert not changed[-30:].any()  # 0.56 of a second is sound


def test_long_transcripts_are_left_out_and_said(tokenizer: Path, tmp_path: Path, capsys: Any):
    made = recordings(tmp_path / "long", 20)
    table = made / "metadata.csv"
    table.write_text(table.read_text().replace("4.wav,", "4.wav," + "हम " * 10))
    task = task_of(tokenizer)
    trainer(1, limit_val_batches=0).fit(task, datamodule=data_of(made, validation=str(made)))
    assert "with more than 20 tokens" in capsys.readouterr().out


def test_what_never_stops_is_counted_and_shown(tokenizer: Path, tones: Path, tmp_path: Path):
    task = task_of(tokenizer)
    task.configure_model()
    task.network.generation_config.suppress_tokens = [task.config.eos_token_id]
    trainer(1).test(task, datamodule=data_of(tones, test=str(tones)), verbose=False)
    assert task.last_metrics["never_stopped"] == 1.0
    text, _ = task.write_test_report(tmp_path)
    assert "never stopped" in text.read_text()


def test_validation_transcribes_the_same_few_and_a_test_all(tokenizer: Path, tones: Path):
    task = task_of(tokenizer, val_utterances=3)
    t = trainer(1)
    t.fit(task, datamodule=data_of(tones, validation=str(tones)))
    assert task.last_metrics["utterances"] == 3
    chosen = task._transcribed
    trainer(1).validate(task, datamodule=data_of(tones, validation=str(tones), eval_batch_size=7), verbose=False)
    assert task._transcribed == chosen
    trainer(1).test(task, datamodule=data_of(tones, test=str(tones)), verbose=False)
    assert task.last_metrics["utterances"] == 40


@pytest.fixture(scope="module")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[zoo.SpeechSeq2Seq, Path]:
    """A model that has learned tones by heart, more or less, with a tokenizer of their transcripts; and its folder."""
    wider = {**TINY_WHISPER, "d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    task = task_of(None, architecture=wider, vocab_size=262, language="hi", timestamp_share=0.3)
    trainer(150, limit_val_batches=0).fit(task, datamodule=data_of(tones, batch_size=20, validation=str(tones)))
    task.save_model(folder := tmp_path_factory.mktemp("whisper") / "trained")
    return task.eval(), folder


def test_it_learns_to_write_tones_and_to_stop(trained: Any, tones: Path):
    task, _ = trained
    trainer(1).validate(task, datamodule=data_of(tones, validation=str(tones)), verbose=False)
    assert task.last_metrics["loss"] < 1.5
    assert task.last_metrics["never_stopped"] == 0


def test_a_saved_model_is_a_pipeline_with_the_same_text(trained: Any, tones: Path):
    task, folder = trained
    plain = pipeline("automatic-speech-recognition", str(folder))
    for i in range(6):
        wave = reading.read(tones / f"{i}.wav", 16_000)
        ours = task.predict(wave)[0]
        said = plain(wave.copy(), return_timestamps=True)
        assert ours["text"] == said["text"].strip() != ""
        assert [(s["start"], s["text"]) for s in ours["segments"]] == [
            (c["timestamp"][0], c["text"].strip()) for c in said["chunks"]
        ]
    assert plain.tokenizer.pad_token_id is not None


def test_networks_draw_nothing_themselves(tokenizer: Path):
    """Their own SpecAugment draws from numpy's global state, and would be on in real configs."""
    task = task_of(tokenizer, architecture={**TINY_WHISPER, "apply_spec_augment": True, "mask_time_prob": 0.5,
                                            "encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5})  # fmt: skip
    batch = batch_of(task, "ab", "c")
    task.train()
    assert torch.equal(task.loss(batch)[0], task.loss(batch)[0])


def test_a_frozen_encoder_has_no_gradient(tokenizer: Path):
    task = task_of(tokenizer, freeze="encoder")
    batch = batch_of(task, "ab", "c")
    task.loss(batch)[0].backward()
    assert all(p.grad is None for p in task.network.model.encoder.parameters())
    assert any(p.grad is not None for p in task.network.model.decoder.parameters())


def test_a_checkpoint_has_all_of_the_network(saved: Path, tones: Path, tmp_path: Path):
    """Its sinusoids are never trained, and must not send a run back for the weights that it came from."""
    task = task_of(None, pretrained=str(saved), language="hi")
    trainer(1, folder=tmp_path, limit_val_batches=0).fit(task, datamodule=data_of(tones))
    kept = checkpoint.read(tmp_path / "step=1.ckpt")
    assert kept["zoo"]["is_whole"]
    sinusoids = kept["state_dict"]["network.model.encoder.embed_positions.weight"]
    plain = WhisperForConditionalGeneration.from_pretrained(saved).model.encoder.embed_positions.weight
    assert torch.equal(sinusoids, plain)


def test_generation_has_a_cache_after_training_with_checkpointing(tokenizer: Path, tones: Path, tmp_path: Path):
    task = task_of(tokenizer, gradient_checkpointing=True)
    trainer(1).fit(task, datamodule=data_of(tones))
    task.save_model(tmp_path)
    assert task.network.config.use_cache
    assert task.predict(str(tones / "0.wav"))[0]["path"].endswith("0.wav")


def test_a_long_recording_is_transcribed_in_windows(trained: Any, tones: Path):
    """Of one second each, cut at pauses."""
    task, _ = trained
    waves = [reading.read(tones / f"{i}.wav", 16_000) for i in range(5)]
    pause = (0.001 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    task.word_times = True
    whole = task.predict(SpeechSample(np.concatenate([x for w in waves for x in (w, pause)]), start=0.0))[0]
    task.word_times = False
    assert len(whole["segments"]) >= 4
    starts = [segment["start"] for segment in whole["segments"]]
    assert starts == sorted(starts)
    assert starts[-1] > 2.5
    assert " ".join(segment["text"] for segment in whole["segments"]) == whole["text"]
    for segment in whole["segments"]:
        assert " ".join(word["word"] for word in segment["words"]) == segment["text"]


def test_a_multilingual_model_is_told_the_language_it_learns(saved: Path, tones: Path, tmp_path: Path):
    assert task_of(None, pretrained=str(saved)).prompt.language == "hi"  # as it was saved
    unsaid = shutil.copytree(saved, tmp_path / "unsaid")
    settings = json.loads((unsaid / "generation_config.json").read_text())
    (unsaid / "generation_config.json").write_text(json.dumps({**settings, "language": None}))
    with pytest.raises(ConfigError, match="model.language"):
        trainer(1).fit(task_of(None, pretrained=str(unsaid)), datamodule=data_of(tones))
    task = task_of(None, pretrained=str(saved), language="hindi", task="translate")
    trainer(1).fit(task, datamodule=data_of(tones))
    settings = task.eval_settings("validation")
    assert (settings["language"], settings["task"]) == ("hi", "translate")
    assert settings["normalised by"].startswith("Whisper's English")  # a translation is English


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"language": "klingon"}, "klingon"),
        ({"task": "translate"}, "multilingual"),
        ({"architecture": {"model_type": "bart"}}, "bart"),
        ({"architecture": {"d_modell": 4}}, "d_modell"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(tokenizer: Path, settings: Any, part: str):
    with pytest.raises(ConfigError, match=part) as error:
        task_of(tokenizer, **settings).prompt  # noqa: B018
    assert "\n" not in str(error.value)


def test_reading_is_at_the_rate_of_the_model(tokenizer: Path, tones: Path):
    task = task_of(tokenizer)
    task.configure_model()
    item = task.processor("test").encode([SpeechSample(tones / "3.wav", "abc")])[0]
    assert len(item["waveform"]) == pytest.approx(2 * len(reading.read(tones / "3.wav", 8000)), abs=2)
