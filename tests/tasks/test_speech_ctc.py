"""SpeechCTC: what is special about it; the rest is the contract (test_contract.py)."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_cases import recordings, trainer
from rapidfuzz.distance import Levenshtein

import zoo
from zoo.audio import reading
from zoo.errors import ConfigError, DataError
from zoo.samples import SpeechSample

SMALL = {"name": "speech_encoder", "width": 32, "layers": 2, "kernel": 5, "mels": 20, "rate": 8000}
ADAMW = partial(torch.optim.AdamW, lr=1e-2)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("speech") / "tones", 80)


def task_of(**settings: Any) -> zoo.SpeechCTC:
    return zoo.SpeechCTC(**{"optimizer": ADAMW, "architecture": SMALL, "max_seconds": 1.0, **settings})


def data_of(folder: Path, **settings: Any) -> zoo.SpeechData:
    return zoo.SpeechData(**{"train": str(folder), "batch_size": 8, "num_workers": 0, **settings})


@pytest.fixture(scope="module")
def trained(tones: Path) -> tuple[zoo.SpeechCTC, zoo.Trainer]:
    task, t = task_of(word_times=True), trainer(220)
    t.fit(task, datamodule=data_of(tones, test_fraction=0.1))
    return task, t


def test_it_learns_to_write_tones(trained: Any, tones: Path, tmp_path: Path):
    task, t = trained
    t.test(task, datamodule=t.datamodule, verbose=False)
    assert task.last_metrics["wer"] < 0.2
    assert task.last_metrics["blank_share"] < 0.999
    assert task.eval_settings("test")["normalised by"] == "lower case, no punctuation, marks kept"
    assert float(task.eval_settings("test")["real-time factor"]) > 0


def test_a_prediction_takes_a_path_an_array_and_a_list(trained: Any, tones: Path):
    task, _ = trained
    wave = reading.read(tones / "1.wav", 8000)
    from_path, from_array = task.predict(str(tones / "1.wav")), task.predict(wave)
    assert from_path[0]["text"] == from_array[0]["text"] != ""
    assert from_path[0]["path"] == str(tones / "1.wav")
    several = task.predict([str(tones / "1.wav"), wave, SpeechSample(np.repeat(wave, 2), rate=16_000)])
    assert len(several) == 3
    assert several[0] == from_path[0]


def test_a_long_recording_is_transcribed_in_windows_with_times(trained: Any, tones: Path):
    """Twelve recordings one after another: longer than any in training."""
    task, _ = trained
    waves = [reading.read(tones / f"{i}.wav", 8000) for i in range(12)]
    alone = [task.predict(wave)[0]["text"].replace(" ", "") for wave in waves]
    pause = (0.001 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    whole = task.predict(np.concatenate([part for wave in waves for part in (wave, pause)]))[0]
    letters = whole["text"].replace(" ", "")
    assert Levenshtein.distance("".join(alone), letters) <= 0.15 * len(letters)
    words = [word for segment in whole["segments"] for word in segment["words"]]
    assert " ".join(word["word"] for word in words) == whole["text"]
    times = [t for word in words for t in (word["start"], word["end"])]
    assert times == sorted(times)
    assert len(whole["segments"]) >= 10


def test_a_part_of_a_recording_has_the_times_of_the_recording(trained: Any, tones: Path):
    task, _ = trained
    wave = np.concatenate([np.zeros(40_000, np.float32), reading.read(tones / "3.wav", 8000)])
    found = task.predict(SpeechSample(wave, start=4.9))[0]
    assert found["segments"][0]["start"] >= 4.9


def test_the_worst_utterances_are_written(trained: Any, tmp_path: Path):
    task, t = trained
    t.test(task, datamodule=data_of(mislabelled(tmp_path), test=str(tmp_path / "wrong")), verbose=False)
    written = task.write_test_report(tmp_path)
    assert [path.name for path in written] == ["worst.txt", "worst.html"]
    assert "ZZZ" in written[0].read_text()


def mislabelled(folder: Path) -> Path:
    made = recordings(folder / "wrong", 9)
    table = made / "metadata.csv"
    table.write_text(table.read_text().replace("0.wav,", "0.wav,zzz "))
    return made


def test_what_has_more_letters_than_frames_is_left_out_and_said(tones: Path, tmp_path: Path, capsys: Any):
    made = recordings(tmp_path / "long", 20)
    table = made / "metadata.csv"
    table.write_text(table.read_text().replace("4.wav,", "4.wav," + "abcabcabc" * 10))
    task, data = task_of(), data_of(made, validation=str(tones))
    trainer(1).fit(task, datamodule=data)
    said = capsys.readouterr().out
    assert said.count("left out") == 1
    assert "left out: 2 with more letters than the network has frames" in said
    assert len(data.items["train"]) == 18


def test_what_has_more_letters_than_frames_counts_in_a_test(tmp_path: Path):
    """It has no loss, and cannot be heard right: to leave it out would flatter."""
    made = recordings(tmp_path / "fast", 3)
    (made / "metadata.csv").write_text("file_name,text\n0.wav," + "abc" * 60)
    task = task_of(vocabulary="abc ")
    trainer(1).test(task, datamodule=data_of(made, test=str(made)), verbose=False)
    assert task.last_metrics["utterances"] == 1
    assert task.last_metrics["wer"] >= 1
    assert task.last_metrics["loss"] == 0


def test_batches_of_about_the_same_length(tones: Path):
    task, data = task_of(), data_of(tones, group_by_length=True)
    t = trainer(1)
    t.fit(task, datamodule=data)
    batch = next(iter(data.train_dataloader()))
    assert max(batch["seconds"]) - min(batch["seconds"]) < 0.15


def test_the_vocabulary_is_that_of_the_training_transcripts_or_a_given_one(tones: Path, capsys: Any):
    task = task_of()
    trainer(0).fit(task, datamodule=data_of(tones))
    assert set(task.alphabet.numbers) == set("abc ")
    given = task_of(vocabulary="ab ")
    trainer(0).fit(given, datamodule=data_of(tones))
    assert set(given.alphabet.numbers) == set("ab ")
    assert "the vocabulary has no 'c'" in capsys.readouterr().out


def test_hindi_is_learned_letter_by_letter_with_its_marks(tmp_path: Path):
    made = recordings(tmp_path / "हिन्दी", 12)
    table = made / "metadata.csv"
    table.write_text(table.read_text("utf-8").replace("a", "कि").replace("fकिle_नकme", "file_name"), "utf-8")
    text = table.read_text("utf-8").replace(",", ",की ").splitlines()
    table.write_text("\n".join(["file_name,text", *(line.replace("wकिv", "wav") for line in text[1:])]), "utf-8")
    task = task_of()
    trainer(2).fit(task, datamodule=data_of(made))
    assert {"ि", "ी", "क"} <= set(task.alphabet.numbers)
    item = task.trainer.datamodule.items["train"][0]
    assert "की" in task.show_loss_mask(item)


def test_a_network_that_writes_nothing_is_told_so_in_one_line(tones: Path, capsys: Any):
    task = task_of(vocabulary="abc ")
    task.configure_model()
    with torch.no_grad():
        task.network.head.bias[0] = 100.0
    trainer(0).validate(task, datamodule=data_of(tones), verbose=False)
    assert capsys.readouterr().out.count("all frames are blank") == 1
    assert task.last_metrics["blank_share"] == 1.0
    assert task.last_metrics["deletions"] == 1.0


def test_transcripts_are_learned_as_written_where_that_is_asked():
    task = task_of(transcript="as_written", vocabulary="Hi, ")
    task.configure_model()
    encoder = task.processor("train")
    item = encoder.encode([SpeechSample(np.ones(4000, np.float32), "Hi, hi")])[0]
    assert task.alphabet.decode(item["targets"].tolist()) == "Hi, i"
    assert item["text"] == "Hi, hi"


def test_without_letters_there_is_nothing_to_learn(tmp_path: Path):
    made = recordings(tmp_path / "empty", 5)
    table = made / "metadata.csv"
    table.write_text("file_name,text\n" + "\n".join(f"{i}.wav,..." for i in range(5)))
    with pytest.raises(DataError, match="no letters"):
        trainer(1).fit(task_of(), datamodule=data_of(made))


def test_an_untrained_network_without_a_vocabulary_is_told_so():
    with pytest.raises(ConfigError, match="vocabulary"):
        task_of().predict(np.zeros(100, np.float32))


def test_a_folder_is_transcribed_into_a_data_set_that_can_be_trained_on(here: Path, zoo_command: Any):
    """Transcripts of one's own recordings, to be corrected by hand."""
    made = recordings(here / "tones", 30)
    common = ["--trainer.accelerator=cpu", "--data.num_workers=0"]
    fit = ["--model=zoo.SpeechCTC", "--data=zoo.SpeechData", f"--model.architecture={json.dumps(SMALL)}"]
    fit += ["--model.max_seconds=1", "--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"]
    assert zoo_command("fit", *fit, f"--data.train={made}", "--trainer.max_steps=200", *common)[0] == 0
    code, said, complaint = zoo_command("predict", "--audio", made)
    assert (code, complaint) == (0, "")
    run = here / "runs/run/1"
    assert len((run / "predictions.jsonl").read_text().splitlines()) == 30
    assert len([*(run / "predictions").glob("*.srt")]) == 30
    assert "metadata.csv" in said
    table = run / "predictions" / "metadata.csv"
    code, said, _ = zoo_command("fit", *fit, f"--data.train={table}", "--trainer.max_steps=1", *common)
    assert code == 0
