"""What can be known of the data within a moment is said before torch is imported, in the words of its reader."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from config_text import CONFIG

import zoo
from zoo.command import before_torch
from zoo.errors import UserError
from zoo.files import sources

BAD = {  # a file, and what its line names
    "empty.csv": ("", "no text in it"),
    "empty.txt": ("  \n", "no text in it"),
    "header.csv": ("text\n", "no text in it"),
    "column.csv": ("story\nOnce\n", "no column 'text' (columns: story)"),
    "quote.csv": ('text\n"Once\nupon\n', "line 2: a quote opens there and never closes"),
    "role.jsonl": ('{"messages": [{"role": "boss", "content": "x"}]}\n', 'has role "boss" in message 1'),
    "cut.jsonl": ('{"text": "Once"}\n{"text": \n', "line 2 is no JSON"),
    "number.jsonl": ('{"text": 3}\n', "has 3 for 'text', which is no text"),
}
FIT = ["fit", "--config", "c.yaml"]


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(here / "cache"))
    (here / "c.yaml").write_text(CONFIG)
    (here / "notes.txt").write_text("some words\n")
    for name, (content, _) in BAD.items():
        (here / name).write_text(content)
    return here


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_file_that_cannot_be_used_is_told_at_once_as_its_reader_tells_it(
    name: str, split: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert before_torch.answer([*FIT, f"--data.{split}", name]) == 65
    line = capsys.readouterr().err
    assert BAD[name][1] in line
    with pytest.raises(UserError) as raised:
        zoo.TextData(train=name).samples("train")
    assert line == f"zoo: {raised.value}\n"


def test_that_needs_no_torch(folder: Path):
    code = (
        f"import sys; from zoo.command import before_torch as b; b.answer({[*FIT, '--data.train', 'column.csv']!r}); "
    )
    code += "print('torch' in sys.modules, 'lightning' in sys.modules, 'datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no column 'text'" in done.stderr
    assert done.stdout == "False False False\n"


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--data.train", "column.csv", "--data.text_column", "story"],
        ["--data.test", "column.csv"],
        ["--data.train", "column.csv", "--print_config"],
        ["--data.train", "semicolon.csv", "--data.separator", ";"],
        ["--data.train", "tab.csv", "--data.separator", "\\t"],
    ],
    ids=" ".join,
)
def test_what_can_be_read_and_what_is_not_read_is_no_mistake(flags: list[str], folder: Path):
    (folder / "semicolon.csv").write_text("text;year\nOnce, upon;1999\n")
    (folder / "tab.csv").write_text("text\tyear\nOnce, upon\t1999\n")
    assert before_torch.answer([*FIT, *flags]) is None


def test_of_a_large_file_only_the_beginning_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "_SMALL", 10)
    assert before_torch.answer([*FIT, "--data.train", "column.csv"]) == 65
    monkeypatch.setattr(sources, "read_files", lambda *_: pytest.fail("read as a whole"))
    assert before_torch.answer([*FIT, "--data.train", "role.jsonl"]) is None


def test_what_was_read_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "good.csv").write_text("text\nOnce\n")
    assert before_torch.answer([*FIT, "--data.train", "good.csv"]) is None
    monkeypatch.setattr(sources.tables, "texts", lambda *_: pytest.fail("read again"))
    assert len(zoo.TextData(train="good.csv", validation="good.csv").samples("train")) == 1


def test_it_comes_with_what_else_is_missing_and_after_wrong_settings(folder: Path, zoo_command: Any):
    flags = [*FIT, "--data.train", "column.csv", "--model.pretrained", "./nowhere"]
    assert [line.split()[1] for line in zoo_command(*flags)[2].splitlines()] == ["model.pretrained:", "column.csv"]
    code, _, complaint = zoo_command(*flags, "--data.batch_size", "0")
    assert (code, "column.csv" in complaint) == (2, False)


def test_a_table_none_of_whose_files_is_there_names_one(folder: Path, zoo_command: Any):
    (folder / "a.csv").write_text("image,label\n1.png,cat\n2.png,dog\n")
    flags = ["fit", "--config", "quickstart_vision", "--data.train", "a.csv"]
    speech = ["fit", "--model", "zoo.SpeechCTC", "--model.pretrained", "x", "--data", "zoo.SpeechData"]
    speech += ["--data.train", "a.csv", "--trainer.max_epochs", "1"]
    code, _, complaint = zoo_command(*flags)
    assert (code, "a.csv names 2 images, and none of them is there: 1.png: no such file" in complaint) == (65, True)
    (folder / "1.png").touch()
    assert before_torch.answer(flags) is None
    (folder / "a.csv").write_text("audio,text\n1.wav,one\n")
    assert "a.csv names 1 recordings, and none of them is there: 1.wav" in zoo_command(*speech)[2]
    (folder / "a.csv").write_text("picture,label\n1.png,cat\n")
    assert "a.csv has no column with an image (columns: picture, label;" in zoo_command(*flags)[2]


def test_a_table_none_of_whose_recordings_is_there_names_one(folder: Path, zoo_command: Any):
    (folder / "a.csv").write_text("path,text\n१.wav,एक\n२.wav,दो\n")
    flags = [
        "fit",
        "--model=zoo.SpeechCTC",
        "--model.architecture=speech_encoder",
        "--model.optimizer=torch.optim.AdamW",
    ]
    flags += ["--data=zoo.SpeechData", "--data.train=a.csv", "--trainer.max_steps=1"]
    code, _, complaint = zoo_command(*flags)
    assert (code, "a.csv names 2 recordings, and none of them is there: १.wav: no such file" in complaint) == (65, True)
    (folder / "१.wav").touch()
    assert before_torch.answer(flags) is None
    (folder / "a.csv").write_text("path,words\n१.wav,एक\n")
    assert "a.csv has no column with transcripts (columns: path, words;" in zoo_command(*flags)[2]


def test_a_look_at_recordings_needs_no_torch():
    code = "import sys; import zoo.data.speech_sources; print('torch' in sys.modules, 'datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
