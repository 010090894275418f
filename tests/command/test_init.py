"""zoo init: what it recognises, what it says of the rest, and that what it writes runs."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from conftest import TEXT, save_tiny
from hub_cache import put_model
from PIL import Image

from zoo.command import config_templates, inventory, languages
from zoo.command.settings import merging, schema
from zoo.files import heads, hub
from zoo.files.paths import shell

SHORT = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--trainer.limit_val_batches=1"]
LINES = TEXT.splitlines()
HINDI = "\n".join(f"भारत एक विशाल देश है और यहाँ {i} भाषाएँ बोली जाती हैं।" for i in range(60))
GERMAN = "\n".join(f"Der Fuchs läuft müde über {i} Hunde und schläft dann im Gebüsch." for i in range(60))
TURNS = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "A fox, and it sleeps."}]
SPOKEN = [[f"wavs/{i}.wav", line, i % 4] for i, line in enumerate(LINES[:8])]
HOME = Path("mine")


def text(path: str, content: str = TEXT, encoding: str = "utf-8") -> None:
    put(path, content.encode(encoding))


def put(path: str, content: bytes = b"") -> None:
    (HOME / path).parent.mkdir(parents=True, exist_ok=True)
    (HOME / path).write_bytes(content)


def jsonl(path: str, rows: Iterable[dict[str, Any]]) -> None:
    text(path, "".join(json.dumps(row) + "\n" for row in rows))


def table(path: str, columns: list[str], rows: Iterable[list[Any]], sep: str = ",", encoding: str = "utf-8") -> None:
    put(path)
    with open(HOME / path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=sep).writerows([columns, *rows])


def images(*folders: str, each: int = 6, suffix: str = "png", side: int = 12) -> None:
    for folder in folders:
        for i in range(each):
            put(f"{folder}/{i}.{suffix}")
            pixels = np.random.default_rng(i).integers(0, 255, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(HOME / folder / f"{i}.{suffix}")


def record(*paths: str, seconds: float = 1.0, level: float = 0.3, rate: int = 8000) -> None:
    for path in paths:
        put(path)
        soundfile.write(HOME / path, level * np.sin(np.arange(round(seconds * rate)) / 5), rate)


def several(*makers: Callable[[], None]) -> Callable[[], None]:
    return lambda: [make() for make in makers] and None


def kaggle() -> None:
    images("images", each=12, suffix="jpg")
    table("train.csv", ["image_id", "breed"], [[i, ("pug", "collie")[i % 2]] for i in range(10)])
    table("test.csv", ["image_id"], [[i] for i in range(10, 12)])


# What is recognised ---------------------------------------------------------------------------------------------

RECOGNISED: dict[str, tuple[Callable[[], None], list[str], dict[str, Any]]] = {  # made by, said, settings of the data
    "a text": (lambda: text("a.txt"), [f"1 text, {len(TEXT):,} characters", "English"], {"train": "mine/a.txt"}),
    "texts": (several(lambda: text("a.txt"), lambda: text("b/c.txt")), ["2 texts, "], {"train": "mine"}),
    "characters, not bytes": (
        lambda: text("a.txt", HINDI),
        [f"{len(HINDI):,} characters", "the Devanagari script"],
        {"train": "mine/a.txt"},
    ),
    "windows-1252": (
        lambda: text("a.txt", GERMAN, "cp1252"),
        [f"{len(GERMAN):,} characters", "windows-1252: 1 text", "other than English"],
        {"train": "mine/a.txt"},
    ),
    "UTF-16": (lambda: text("a.txt", HINDI, "utf-16"), [f"{len(HINDI):,} ch", "utf-16"], {"train": "mine/a.txt"}),
    "markdown": (several(lambda: text("a.md"), lambda: text("b.md")), ["2 texts, .md"], {"train": "mine"}),
    "source code": (
        several(lambda: text("src/a.py"), lambda: text("src/b.py"), lambda: text("README.md", "hello")),
        ["3 texts, .py (2), .md (1)", "source code"],
        {"train": "mine/src"},
    ),
    "texts beside a table": (
        several(lambda: text("a.txt"), lambda: text("b.txt"), lambda: table("n.csv", ["a", "b"], [[1, 2]] * 9)),
        ["not used: mine/n.csv: no column of text (a: number, b: number)"],
        {"train": "mine/*.txt"},
    ),
    "texts with splits": (
        several(lambda: text("train/a.txt"), lambda: text("val/b.txt")),
        ["train 1 text, validation 1 text"],
        {"train": "mine/train/a.txt", "validation": "mine/val/b.txt"},
    ),
    "a column of text": (
        lambda: jsonl("a.jsonl", [{"id": i, "story": line} for i, line in enumerate(LINES)]),
        ["400 texts (story)", "columns: id, story"],
        {"train": "mine/a.jsonl", "text_column": "story"},
    ),
    "semicolons and windows-1252": (
        lambda: table("a.csv", ["Nr", "Größe"], [[i, s] for i, s in enumerate(GERMAN.split("\n"))], ";", "cp1252"),
        ["separated by ';'", "windows-1252", "60 texts (Größe)"],
        {"train": "mine/a.csv", "separator": ";", "text_column": "Größe"},
    ),
    "rows of JSON in an object": (
        lambda: text("a.json", json.dumps({"data": [{"text": line} for line in LINES]})),
        ["400 texts (text)"],
        {"train": "mine/a.json"},
    ),
    "questions and answers": (
        lambda: table("a.csv", ["Question", "Answer", "source"], [["What is it?", s, "book"] for s in LINES]),
        ["400 prompts (Question) with completions (Answer)", "not used: source"],
        {"train": "mine/a.csv", "prompt_column": "Question", "completion_column": "Answer"},
    ),
    "Alpaca": (
        lambda: jsonl("a.jsonl", [{"instruction": "Say it to me", "input": "", "output": s} for s in LINES]),
        ["400 prompts (instruction) with completions (output)"],
        {"train": "mine/a.jsonl"},
    ),
    "messages": (lambda: jsonl("a.jsonl", [{"messages": TURNS}] * 9), ["9 conv"], {"train": "mine/a.jsonl"}),
    "a dialogue": (
        lambda: jsonl("a.jsonl", [{"dialogue": ["Hello", "Hi"]}] * 9),
        ["9 conversations (dialogue)", "the user begins"],
        {"train": "mine/a.jsonl"},
    ),
    "splits of tables": (
        several(
            lambda: table("train.csv", ["text"], [[line] for line in LINES]),
            lambda: table("val.csv", ["text"], [[line] for line in LINES[:9]]),
            lambda: table("sample_submission.csv", ["id", "x"], [[1, 2]]),
        ),
        ["400 texts", "train 1 table, validation 1 table", "not used: mine/sample_submission.csv"],
        {"train": "mine/train.csv", "validation": "mine/val.csv"},
    ),
    "classes": (lambda: images("cats", "dogs"), ["12 images in 2 classes: cats (6), dogs (6)"], {"train": "mine"}),
    "classes deeper inside": (lambda: images("a/b/cats", "a/b/dogs"), ["in 2 classes: cats"], {"train": "mine/a/b"}),
    "classes with splits": (
        lambda: images("train/cats", "train/dogs", "val/cats", "val/dogs", "extra"),
        ["12 images in 2", "train 12, validation 12", "not used, as no class is known of them: 6 images (extra/ (6))"],
        {"train": "mine"},
    ),
    "Kaggle": (
        kaggle,
        ["10 images (image_id) in 2 classes (breed)", "images/{image_id}.jpg"],
        {"train": "mine/train.csv", "image_column": "images/{image_id}.jpg", "label_column": "breed"},
    ),
    "texts with a label": (
        lambda: table("a.csv", ["id", "review", "sentiment"], [[i, s, "ab"[i % 2]] for i, s in enumerate(LINES)]),
        ["texts (review) in 2 classes (sentiment)", "classes in the first 300 rows: a 150, b 150"],
        {"train": "mine/a.csv", "text_column": "review", "label_column": "sentiment"},
    ),
    "images without classes": (
        lambda: images(".", each=100),
        ["100 images without classes, to make images like them", "to tell images apart instead, put them"],
        {"train": "mine"},
    ),
    "images without classes in a folder": (
        several(lambda: images("photos", each=100), lambda: put("a.pdf")),
        ["100 images without classes"],
        {"train": "mine/photos"},
    ),
    "images without classes beside texts": (
        several(lambda: images(".", each=100), lambda: text("a.txt", "\n".join(LINES))),
        ["1 text"],
        {"train": "mine/a.txt"},
    ),
    "a table of paths": (
        several(
            lambda: images("x", each=8),
            lambda: table("a.csv", ["path", "label"], [[f"x/{i}.png", i % 2] for i in range(8)]),
        ),
        ["8 images (path) in 2 classes (label)"],
        {"train": "mine/a.csv"},
    ),
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_what_is_found_is_said_and_its_config_has_no_mistake(name: str, here: Path, zoo_command: Any):
    make, says, settings = RECOGNISED[name]
    make()
    code, said, complaint = zoo_command("init", "mine")
    assert (code, complaint) == (0, "")
    assert [part for part in says if part not in said] == []
    data = yaml.safe_load(Path("mine.yaml").read_text())["data"]["init_args"]
    assert {key: value for key, value in data.items() if key != "batch_size"} == settings
    assert merging.merged(schema.load(), ["--config", "mine.yaml"]).check("fit")[1] == []


RECOGNISED |= {
    "recordings with texts": (
        several(lambda: record("में/a.wav", "में/b.flac"), lambda: text("में/a.txt", HINDI), lambda: text("में/b.txt", HINDI)),
        ["2 recordings with transcripts beside them", "length: 2.0 s in all, from 1.0 s to 1.0 s", "Devanagari"],
        {"train": "mine/में", "group_by_length": True},
    ),
    "recordings with subtitles": (
        several(lambda: record("a.wav"), lambda: text("a.srt", "1\n00:00:00,000 --> 00:00:01,000\nगाँव\n")),
        ["1 recording with transcripts beside them"],
        {"train": "mine", "group_by_length": True},
    ),
    "LibriSpeech": (
        several(lambda: record("dev/8/9/8-9-0.flac"), lambda: text("dev/8/9/8-9.trans.txt", "8-9-0 GO DO YOU HEAR\n")),
        ["1 recording with LibriSpeech's transcripts"],
        {"train": "mine/dev/8/9", "group_by_length": True},
    ),
    "a table of recordings": (
        several(
            lambda: record(*(row[0] for row in SPOKEN)),
            lambda: table("metadata.csv", ["file_name", "text", "speaker"], SPOKEN),
        ),
        ["8 recordings (file_name) with transcripts (text) in metadata.csv", "whole speakers (speaker) are held out"],
        {"train": "mine/metadata.csv", "group_column": "speaker", "group_by_length": True},
    ),
    "a table with names of its own": (
        several(
            lambda: record(*(f"wavs/{i}.wav" for i in range(8))),
            lambda: table("list.csv", ["clip", "what is said"], [[f"{i}.wav", LINES[i]] for i in range(8)]),
        ),
        ["8 recordings (clip) with transcripts (what is said)"],
        {"train": "mine/list.csv", "audio_column": "wavs/{clip}", "text_column": "what is said"}
        | {"group_by_length": True},
    ),
    "Common Voice": (
        several(
            lambda: record("clips/a.mp3", "clips/b.mp3"),
            lambda: text("train.tsv", 'client_id\tpath\tsentence\nx\ta.mp3\t"Stop, he said.\n'),
            lambda: text("dev.tsv", "client_id\tpath\tsentence\ny\tb.mp3\tGo.\n"),
        ),
        ["1 recordings (path) with transcripts (sentence)", "train 1 table, validation 1 table"],
        {"train": "mine/train.tsv", "validation": "mine/dev.tsv", "group_column": "client_id", "group_by_length": True},
    ),
}

NOT_FOR_US: dict[str, tuple[Callable[[], None], str]] = {
    "an empty folder": (lambda: HOME.mkdir(), "mine has no file in it. Expected texts"),
    "empty texts": (lambda: text("a.txt", ""), "mine: every text in it is empty."),
    "a header alone": (lambda: text("a.csv", "id,text\n"), "mine/a.csv: it has a header and no rows."),
    "no header": (
        lambda: table("a.csv", ["0", "It was good"], [[i % 2, s] for i, s in enumerate(LINES)]),
        "mine/a.csv: its first line is a row (0 …), and should name the columns: text, label, say.",
    ),
    "an open quote": (lambda: text("a.csv", 'id,text\n1,"a\n2,b\n'), "mine/a.csv line 2: a quote opens there and"),
    "a comma too many": (lambda: text("a.csv", "id,text\n1,a,b\n"), "mine/a.csv line 2 has 3 fields, the header 2."),
    "a bad line": (lambda: text("a.jsonl", '{"text": "a"}\n{no\n'), "mine/a.jsonl line 2 is no JSON"),
    "brackets": (lambda: text("a.json", "[" * 100_000), "mine/a.json is nested too deeply"),
    "a damaged text": (lambda: put("a.txt", HINDI.encode() + b"\xff\xfe"), "mine/a.txt is UTF-8 but for byte"),
    "numbers": (
        lambda: table("a.csv", ["rooms", "city"], [[i, ("Pune", "Delhi")[i % 2]] for i in range(20)]),
        "mine/a.csv: no column of text (rooms: number, city: word): zoo has no task for tables of numbers",
    ),
    "preferences": (
        lambda: jsonl("a.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        "mine/a.jsonl: zoo has no task for preference pairs (chosen, rejected) yet.",
    ),
    "conversations of another kind": (
        lambda: jsonl("a.jsonl", [{"turns": [{"who": "a", "says": "b"}]}]),
        "mine/a.jsonl: conversations are in turns; zoo reads them from a column messages",
    ),
    "images in one folder": (lambda: images("."), "mine: 6 images, all in one folder; to tell them apart, zoo needs"),
    "one class": (lambda: images("cats"), "mine: 6 images in one class (cats); there is nothing to tell apart."),
    "classes in names": (
        several(lambda: images("."), lambda: [p.rename(p.with_stem("ab"[i % 2] + p.stem)) for i, p in enumerate(HOME.iterdir())] and None),  # noqa: E501
        "Their names begin with a (3), b (3): move those into folders of these names.",
    ),
    "images beside the classes": (
        lambda: images(".", "cats", "dogs"),
        "mine: 6 images (0.png …) outside of the folders of the classes; move each into one of them, or away.",
    ),
    "validation without train": (lambda: images("val/a", "val/b"), "mine: 12 images in folders for validation, and"),
    "images with captions": (
        several(lambda: images("."), lambda: [text(f"{i}.txt", "A fox.") for i in range(6)] and None),
        "mine: 6 images with a text beside each: zoo has no task for images with captions yet.",
    ),
    "broken images": (
        several(lambda: images("cats", "dogs"), lambda: [put(f"cats/{i}.png", b"x") for i in range(6)] and None),
        "6 of 12 cannot be read, too many (cats/0.png: it is no image",
    ),
    "recordings without transcripts": (
        lambda: record("क a.wav", "b.wav"),
        "mine: 2 recordings without transcripts. To train on them, write what is said in b.wav into b.txt beside it,",
    ),
    "recordings beside another table": (
        several(lambda: record("a.wav"), lambda: text("a.txt", "Hi."), lambda: table("n.csv", ["a"], [[1]])),
        "mine: 1 recording beside a table that is not about them (mine/n.csv); part them",
    ),
    "broken recordings": (
        several(lambda: put("a.wav", b"RIFF" * 99), lambda: put("b.m4a"), lambda: text("a.txt", "Hello.")),
        "1 recording with transcripts beside them: 1 of 1 cannot be read, too many (a.wav: it is no recording",
    ),
    "a table of recordings that are not there": (
        lambda: table("a.csv", ["path", "text"], [[f"{i}.wav", LINES[i]] for i in range(9)]),
        "mine/a.csv: recordings (path): no recording that it names is there (0.wav).",
    ),
    "a table of recordings without transcripts": (
        several(lambda: record("a.wav"), lambda: table("a.csv", ["path", "age"], [["a.wav", 30]])),
        "recordings (path): no column of transcripts is clear (columns: path, age); expected one called text",
    ),
    "documents": (
        several(lambda: put("a.pdf"), lambda: put("b.xlsx")),
        "mine: .pdf is no plain text: pdftotext FILE.pdf makes a .txt of each; .xlsx is no plain text: save each as",
    ),
    "an archive": (lambda: put("a.zip"), "mine: archives are not opened: unpack them first."),
    "something else": (lambda: put("a.xyz"), "mine has nothing that zoo can train on in it. Expected texts"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_FOR_US)
def test_what_cannot_be_trained_on_is_said_in_a_line_and_no_config_is_written(name: str, here: Path, zoo_command: Any):
    make, line = NOT_FOR_US[name]
    make()
    code, said, complaint = zoo_command("init", "mine")
    assert (code, complaint.count("\n")) == (65, 1)
    assert line in complaint
    assert said.startswith("mine: ")
    assert not Path("mine.yaml").exists()


def test_every_kind_of_file_is_counted(here: Path, zoo_command: Any):
    several(lambda: images("cats", "dogs"), lambda: text("README.txt"), lambda: put("a.pdf"), lambda: put("b.xyz"))()
    said = zoo_command("init", "mine")[1].splitlines()
    assert said[:5] == [
        "mine: 15 files in 2 folders",
        "  1 text, .txt: README.txt",
        "  12 images, .png: cats/ (6), dogs/ (6)",
        "  1 document, .pdf: a.pdf",
        "  1 other file, .xyz: b.xyz",
    ]


# Choices --------------------------------------------------------------------------------------------------------


def test_where_two_things_could_be_meant_the_user_is_asked(here: Path, zoo_command: Any):
    several(lambda: text("a b.txt"), lambda: jsonl("c.jsonl", [{"messages": TURNS}] * 200))()
    code, _, complaint = zoo_command("init", "mine")
    assert code == 2
    assert "  uv run zoo init 'mine/a b.txt'   # 1 text" in complaint
    assert "  uv run zoo init mine/c.jsonl   # 200 conversations (messages)" in complaint
    assert zoo_command("init", "mine", "--use", "tables")[0] == 0
    assert zoo_command("init", "mine/a b.txt")[0] == 0
    assert yaml.safe_load(Path("a b.yaml").read_text())["data"]["init_args"]["train"] == "mine/a b.txt"


@pytest.mark.parametrize("language", ["English", "German", "Hindi", "code"])
@pytest.mark.parametrize("form", ["text", "chat"])
def test_weights_that_know_the_language_are_proposed(
    form: str, language: str, here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "offline", lambda: False)
    content = {"English": TEXT, "German": GERMAN, "Hindi": HINDI, "code": TEXT}[language]
    if form == "text":
        text("a.py" if language == "code" else "a.txt", content)
    else:
        jsonl("a.jsonl", [{"question": "?", "answer": line} for line in content.splitlines()])
    zoo_command("init", "mine")
    foreign = config_templates.BASE_ANY if form == "text" else config_templates.CHAT_ANY
    usual = {
        "text": config_templates.BASE_CODE if language == "code" else config_templates.BASE,
        "chat": config_templates.CHAT,
    }[form]
    model = yaml.safe_load(Path("mine.yaml").read_text())["model"]["init_args"]["pretrained"]
    assert model == (foreign if language in ("German", "Hindi") else usual)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (TEXT, "English"),
        (GERMAN, "a language other than English"),
        (HINDI, "the Devanagari script"),
        ("Однажды в студёную зимнюю пору", "the Cyrillic script"),
        ("今天天气很好", "Chinese characters"),
        ("1 2 3", ""),
        ("Who? A fox.", ""),
    ],
)
def test_scripts_and_languages_are_told_apart(content: str, name: str):
    assert languages.name(content) == name


def test_without_the_hub_no_model_of_it_is_named_and_that_is_said(here: Path, zoo_command: Any):
    text("a.txt", HINDI)
    said = zoo_command("init", "mine")[1]
    assert f"from scratch: the Hugging Face hub cannot be reached, and {config_templates.BASE_ANY} was not" in said
    assert "pretrained" not in yaml.safe_load(Path("mine.yaml").read_text())["model"]["init_args"]


@pytest.mark.parametrize("name", ["0", "é", "ab"])
def test_images_of_single_letters_are_not_mirrored(name: str, here: Path, zoo_command: Any):
    images(name, "y")
    zoo_command("init", "mine")
    hflip = yaml.safe_load(Path("mine.yaml").read_text())["model"]["init_args"]["augmentation"]["hflip"]
    assert hflip == (0.5 if len(name) > 1 else 0.0)


# Files that are not what they seem ------------------------------------------------------------------------------


def test_broken_images_are_named_and_allowed_for(here: Path, zoo_command: Any):
    images("cats", "dogs", each=10, suffix="jpg", side=64)
    whole = (HOME / "cats/0.jpg").read_bytes()
    put("cats/0.jpg", whole[: len(whole) // 2])
    put("dogs/3.jpg", b"no image")
    said = zoo_command("init", "mine")[1]
    assert "cannot be read: 2 of 20 (cats/0.jpg: " in said
    assert "dogs/3.jpg: it is no image" in said
    share = yaml.safe_load(Path("mine.yaml").read_text())["data"]["init_args"]["max_broken"]
    assert share >= 2 / 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_of_recordings_what_is_silent_long_missing_or_broken_is_said_and_allowed_for(here: Path, zoo_command: Any):
    record(*(f"{i:02}.wav" for i in range(20)))
    record("silent.wav", level=0)
    record("talk.flac", seconds=45)
    record("nothing said.wav")
    put("cut.wav", (HOME / "00.wav").read_bytes()[:900])
    for path in sorted(HOME.iterdir()):
        if path.stem != "nothing said":
            text(f"{path.stem}.txt", "what is said")
    code, said, complaint = zoo_command("init", "mine")
    assert (code, complaint) == (0, "")
    for line in (
        "without a transcript, so not used: 1 (nothing said.wav)",
        "longer than 30 s, so left out unless subtitles say what is where: 1 (talk.flac)",
        "silent: 1 (silent.wav)",
        "cannot be read: 1 of 23 (cut.wav: it is cut off: 0.1 s of the 1.0 s that its header promises)",
        "length: 66.0 s in all, from 1.0 s to 45.0 s",
    ):
        assert line in said
    assert yaml.safe_load(Path("mine.yaml").read_text())["data"]["init_args"]["max_broken"] == 0.5


def test_a_single_recording_is_looked_at_too(here: Path, zoo_command: Any):
    record("a b.wav")
    code, _, complaint = zoo_command("init", "mine/a b.wav")
    assert code == 65
    assert "1 recording without transcripts" in complaint


def test_links_that_lead_back_pipes_and_devices_are_named_and_left(here: Path, zoo_command: Any):
    images("cats", "dogs")
    os.symlink("..", HOME / "cats/all")
    os.symlink("/dev/zero", HOME / "dogs/zero.png")
    os.symlink("itself", HOME / "itself")
    os.mkfifo(HOME / "cats/pipe.png")
    os.symlink("../cats", HOME / "dogs/others")
    said = zoo_command("init", "mine")[1]
    assert "12 images in 2 classes: cats (6), dogs (6)" in said
    assert "links to a folder that was counted already: cats/all, dogs/others (2)" in said
    assert "pipes and devices, not opened: cats/pipe.png, dogs/zero.png (2)" in said
    assert "links to nothing: itself" in said


def test_of_a_large_file_only_the_beginning_is_read(here: Path, zoo_command: Any):
    text("a.csv", "id,text\n" + "".join(f"{i},It is the fox number {i:07} in the wood\n" for i in range(90_000)))
    assert (HOME / "a.csv").stat().st_size > 3 * heads.BYTES
    said = zoo_command("init", "mine")[1]
    number = int(said.partition("about ")[2].split()[0].replace(",", ""))
    assert abs(number - 90_000) < 2_000


def test_of_very_many_files_the_first_are_counted(here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inventory, "_MOST_IN_FOLDER", 4)
    images("cats", "dogs")
    said = zoo_command("init", "mine")[1]
    assert "mine: 8 files or more in 2 folders" in said
    assert "there are more files: these numbers are of the first 8" in said


@pytest.mark.parametrize(
    "folder", ["my own", "it's", 'say "so"', "new\nline", "मेरी किताब", "-dash", "a: b #c", "$HOME"]
)
def test_any_name_comes_through_shell_and_yaml(folder: str, here: Path, zoo_command: Any):
    Path(folder).mkdir()
    (Path(folder) / "a\tb.txt").write_text(TEXT)
    code, said, complaint = zoo_command("init", f"./{folder}", "--out", f"{folder}.yaml")
    assert (code, complaint) == (0, "")
    data = yaml.safe_load(Path(f"{folder}.yaml").read_text())["data"]["init_args"]
    assert data["train"] == f"{folder}/a\tb.txt"
    command = said.splitlines()[-1].strip()
    typed = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    assert typed.stdout.split("\0")[-2] == (f"./{folder}.yaml" if folder[0] == "-" else f"{folder}.yaml")


@pytest.mark.parametrize("word", ["a", "a b", "a'b", "a\nb'c\\d", "", "भारत", "\x07"])
def test_a_word_for_the_shell_is_the_word_again(word: str):
    said = subprocess.run(["bash", "-c", f"printf %s {shell(word)}"], capture_output=True, text=True, check=True)
    assert said.stdout == word
    assert "\n" not in shell(word)


def test_images_in_the_working_directory_itself_would_have_the_runs_for_a_class(here: Path, zoo_command: Any):
    global HOME
    HOME, was = Path(), HOME
    try:
        images("cats", "dogs")
    finally:
        HOME = was
    code, _, complaint = zoo_command("init", ".")
    assert code == 65
    assert f"cd .. && uv run zoo init {here.name}" in complaint


def test_init_answers_before_heavy_imports(here: Path):
    several(lambda: images("cats", "dogs"), lambda: text("notes.txt"))()
    heavy = {"torch", "lightning", "transformers", "datasets", "pyarrow", "timm"}
    code = f"import sys; from zoo.__main__ import main; main(['init', 'mine']); print({heavy} & {{*sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.splitlines()[-1] == "set()"


# What is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        kaggle,
        lambda: images("train/बिल्ली घर", "train/कुत्ता", "val/बिल्ली घर", "val/कुत्ता", each=3),
        lambda: jsonl("a.jsonl", [{"dialogue": ["Who is it?", line]} for line in LINES]),
        lambda: jsonl("a.jsonl", [{"पाठ": f"{HINDI} {line}", "label": i % 3} for i, line in enumerate(LINES * 9)]),
        several(
            lambda: record(*(f"आवाज़ {i}.flac" for i in range(12))),
            lambda: [text(f"आवाज़ {i}.txt", f"गाँव {'एक' * (i + 1)}") for i in range(12)] and None,
        ),
    ],
    ids=["Kaggle", "classes with splits", "conversations", "texts with a label", "recordings"],
)
def test_the_config_for_a_folder_runs(make: Callable[[], None], here: Path, zoo_command: Any):
    make()
    assert zoo_command("init", "mine")[0] == 0
    code, said, complaint = zoo_command("fit", "--config", "mine.yaml", *SHORT)
    assert (code, complaint) == (0, "")
    assert "run: runs/mine/1" in said


def test_a_chat_model_that_was_downloaded_is_taken_and_learns_from_questions_and_answers(here: Path, zoo_command: Any):
    tiny = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 512}
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501
    put_model(config_templates.CHAT, lambda folder: save_tiny(folder, tiny, template))
    jsonl("a.jsonl", [{"question": "Who?", "answer": f"The fox is in wood {i}."} for i in range(20)])
    assert zoo_command("init", "mine")[0] == 0
    code, said, complaint = zoo_command("fit", "--config", "mine.yaml", *SHORT)
    assert (code, complaint) == (0, "")
    assert "18 prompts with completions (question, answer)" in said  # of the twenty; two are held out


def test_the_config_for_a_generator_has_no_mistake(here: Path, zoo_command: Any):
    assert zoo_command("init", "diffusion")[0] == 0
    Path("my_images").mkdir()
    assert merging.merged(schema.load(), ["--config", "my_diffusion.yaml"]).check("fit")[1] == []


def test_a_generator_trains_on_images_without_classes(here: Path, zoo_command: Any):
    images(".", each=100)
    assert zoo_command("init", "mine")[0] == 0
    small = ["--model.architecture.block_out_channels=[32,32,32,32]", "--model.sampling.steps=2"]
    code, said, complaint = zoo_command("fit", "--config", "mine.yaml", *SHORT, *small)
    assert (code, complaint) == (0, "")
    assert "90 images" in said
    assert zoo_command("predict", "--count=2", "--steps=2")[0] == 0


def test_images_in_the_working_directory_itself_would_have_the_previews_among_them(
    here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    images(".", each=100)
    monkeypatch.chdir("mine")
    code, _, complaint = zoo_command("init", ".")
    assert (code, complaint.count("\n")) == (65, 1)
    assert "cd .. && " in complaint


@pytest.mark.parametrize("task", ["text", "images", "speech", "zoo.CausalLM", "text_classification"])
@pytest.mark.parametrize("offline", [True, False], ids=["offline", "hub in reach"])
def test_the_config_for_a_task_has_no_mistake(
    task: str, offline: bool, here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "offline", lambda: offline)
    assert zoo_command("init", task, "--out", "c.yaml")[0] == 0
    config = yaml.safe_load(Path("c.yaml").read_text())
    assert ("pretrained" in config["model"]["init_args"]) is not offline
    Path(config["data"]["init_args"]["train"]).write_text("text,label\nOnce,a\nTwice,b\n")
    assert merging.merged(schema.load(), ["--config", "c.yaml"]).check("fit")[1] == []


def test_a_config_is_never_overwritten(here: Path, zoo_command: Any):
    Path("my_text.yaml").write_text("mine")
    code, _, complaint = zoo_command("init", "text")
    assert (code, Path("my_text.yaml").read_text()) == (2, "mine")
    assert "my_text.yaml is there already" in complaint


def test_a_dash_prints_the_config_and_nothing_else(here: Path, zoo_command: Any):
    text("a.txt")
    code, said, _ = zoo_command("init", "mine", "--out", "-")
    assert code == 0
    assert yaml.safe_load(said)["data"]["init_args"]["train"] == "mine/a.txt"
