import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXT
from contract_cases import ADAMW, trainer

import zoo
from zoo.data import python_texts
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.samples import CompletionSample, TextSample

HINDI = "यह एक छोटा वाक्य है।\nयह दूसरा वाक्य है, थोड़ा लंबा।\n"


def texts(split: str = "train", **settings: Any) -> list[str]:
    return [sample.text for sample in zoo.TextData(**settings).samples(split) or []]


def test_a_text_file_is_one_continuous_document(here: Path):
    Path("a.txt").write_text("One.\n\nTwo.\n")
    Path("v.txt").write_text("V")
    assert texts(train="a.txt", validation="v.txt") == ["One.\n\nTwo.\n"]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [("lines", ["One.", "Two.", "Three."]), ("blank", ["One.\nTwo.", "Three."]), ("file", ["One.\nTwo.\n\nThree."])],
)
def test_documents_are_what_the_setting_says(documents: Any, expected: list[str], here: Path):
    Path("a.txt").write_text("One.\nTwo.\n\nThree.")
    assert texts(train="a.txt", validation="a.txt", documents=documents) == expected


@pytest.mark.parametrize(("names", "read"), [(["a.md", "b.py"], [0, 1]), (["a.txt", "README.md", "setup.py"], [0])])
def test_other_texts_are_read_of_a_folder_only_where_it_has_no_txt(names: list[str], read: list[int], here: Path):
    Path("d").mkdir()
    for name in names:
        (Path("d") / name).write_text(name)
    assert texts(train="d", validation="d") == [names[i] for i in read]
    assert texts(train=f"d/{names[-1]}", validation="d") == [names[-1]]


def test_tables_give_a_document_per_row(here: Path):
    rows = [{"body": "One, two", "n": 1}, {"body": "Three", "n": 2}]
    Path("a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    Path("a.csv").write_text('body,n\n"One, two",1\nThree,2\n')
    Path("a.tsv").write_text("body\tn\nOne, two\t1\nThree\t2\n")
    for name in ("a.jsonl", "a.csv", "a.tsv"):
        assert texts(train=name, validation=name, text_column="body") == ["One, two", "Three"]


def test_rows_are_joined_where_the_table_is_one_document(here: Path):
    Path("a.jsonl").write_text('{"text": "One"}\n{"text": "Two"}')
    assert texts(train="a.jsonl", validation="a.jsonl", documents="file", join="\n\n") == ["One\n\nTwo"]


def test_empty_rows_are_left_out(here: Path):
    Path("a.jsonl").write_text('{"text": "One"}\n{"text": "  "}\n{"text": null}\n{"text": "Two"}')
    assert texts(train="a.jsonl", validation="a.jsonl") == ["One", "Two"]


def test_other_scripts_come_through_in_text_and_in_paths(here: Path):
    folder = Path("मेरे पाठ")
    folder.mkdir()
    (folder / "कहानी.txt").write_text(HINDI, "utf-8")
    assert texts(train=f"{folder}/कहानी.txt", validation=f"{folder}/कहानी.txt") == [HINDI]


def test_few_documents_are_split_inside_each_at_a_line(here: Path):
    Path("a.txt").write_text(TEXT)
    data = zoo.TextData(train="a.txt", validation_fraction=0.2)
    train, held = (data.samples(split)[0].text for split in ("train", "validation"))
    assert train + held == TEXT
    assert train.endswith("\n")
    assert len(held) / len(TEXT) == pytest.approx(0.2, abs=0.01)


def test_many_documents_are_split_by_document(here: Path):
    Path("a.jsonl").write_text("\n".join(json.dumps({"text": f"text {i}" * (1 + i % 7)}) for i in range(100)))
    data = zoo.TextData(train="a.jsonl")
    train, held = ([sample.text for sample in data.samples(split)] for split in ("train", "validation"))
    assert len(train) + len(held) == 100
    assert not set(train) & set(held)
    share = sum(map(len, held)) / sum(map(len, train + held))
    assert share == pytest.approx(0.1, abs=0.01)


def test_the_test_split_falls_back_to_the_validation_data_and_says_so(here: Path):
    Path("a.txt").write_text(TEXT)
    data = zoo.TextData(train="a.txt")
    assert [s.text for s in data.samples("test")] == [s.text for s in data.samples("validation")]
    assert "no test data, so the validation data" in data.describe("test")


def test_names_in_25_languages_are_each_in_one_of_them():
    found = python_texts.names()
    assert {language for _, language in found} == {*python_texts.LANGUAGES.values()}
    assert len({name.casefold() for name, _ in found}) == len(found) > 30_000
    assert ("भारत", "Hindi") not in found  # Marathi and Nepali write it so too
    assert ("Deutschland", "German") in found


def test_names_come_with_their_class_and_the_same_share_of_each_is_held_out():
    data = zoo.TextData(train="python:babel.names", validation_fraction=0.1, test_fraction=0.2)
    parts = {split: list(data.samples(split)) for split in ("train", "validation", "test")}
    whole = Counter(language for _, language in python_texts.names())
    for language, count in whole.items():
        held = [sum(sample.label == language for sample in parts[split]) for split in ("validation", "test")]
        assert held == [round(0.1 * count), round(0.2 * count)]
    texts = [sample.text for samples in parts.values() for sample in samples]
    assert sorted(texts) == sorted(name for name, _ in python_texts.names())


def test_the_manual_inside_python_is_read_without_its_repeats():
    kept = python_texts.texts("pydoc_data.topics")
    assert 300_000 < sum(map(len, kept)) < 465_000
    lines = [{line.strip() for line in one.splitlines()} for one in kept]
    repeated = [a for a in lines if any(a is not b and len(a) < len(b) and len(a - b) <= 0.1 * len(a) for b in lines)]
    assert repeated == []


def test_prompts_come_from_a_file_or_are_the_setting_itself(here: Path):
    Path("p.txt").write_text("Once\n\nTwice\n")
    Path("p.jsonl").write_text('{"text": "Once"}\n{"text": "Twice"}')
    assert texts("predict", predict="p.txt") == texts("predict", predict="p.jsonl") == ["Once", "Twice"]
    assert texts("predict", predict="Once upon a time") == ["Once upon a time"]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"train": "nope.txt"}, MissingInputError, "data.train: nope.txt: no such file"),
        ({"train": "fix.txt"}, MissingInputError, "did you mean fox.txt"),
        ({"train": "empty.txt"}, DataError, "has no text in it"),
        ({"train": "x.docx"}, DataError, "not one of .txt"),
        ({}, ConfigError, "data.train is not set"),
    ],
)
def test_a_mistake_gets_one_line_that_names_it(settings: dict[str, str], error: Any, says: str, here: Path):
    Path("fox.txt").write_text(TEXT)
    Path("empty.txt").write_text("\n")
    Path("x.docx").write_text("x")
    with pytest.raises(error, match=says) as caught:
        texts(**settings)
    assert "\n" not in str(caught.value)


class Marking(zoo.CausalLM):
    def show_loss_mask(self, item: Any) -> str:
        return f"sample of {len(item['input_ids'])} tokens"


def test_a_few_samples_are_shown_before_the_training(here: Path, tiny_gpt2: Path, capsys: pytest.CaptureFixture[str]):
    Path("a.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in TEXT.splitlines()[:50]))
    data = zoo.TextData(train="a.jsonl", show=3)
    trainer(0).fit(Marking(pretrained=str(tiny_gpt2), max_length=16, optimizer=ADAMW), datamodule=data)
    assert capsys.readouterr().out.count("sample of ") == 3
    assert "data.show" in zoo.TextData.changeable_on_resume


def test_columns_may_be_named(here: Path):
    Path("a.csv").write_text("frage,antwort,text,art\nWas?,Das.,One,007\nWer?,Der.,Two,\n")
    both = {"train": "a.csv", "validation": "a.csv"}
    data = zoo.TextData(**both, prompt_column="frage", completion_column="antwort")
    assert list(data.samples("train")) == [CompletionSample("Was?", "Das."), CompletionSample("Wer?", "Der.")]
    data = zoo.TextData(**both, label_column="art")
    assert list(data.samples("train")) == [TextSample("One", "007"), TextSample("Two", None)]
    with pytest.raises(DataError, match=r"has no column 'wahl' .*Set data.completion_column to one of them"):
        zoo.TextData(**both, prompt_column="frage", completion_column="wahl").samples("train")
    with pytest.raises(ConfigError, match="at most one of TextData.text_column and TextData.prompt_column"):
        zoo.TextData(**both, text_column="text", prompt_column="frage")


def test_a_label_is_part_of_what_a_text_is(here: Path):
    def digest(labels: list[str]) -> str:
        Path("a.csv").write_text("text,label\n" + "".join(f"One,{label}\n" for label in labels))
        return zoo.TextData(train="a.csv", validation="a.csv", label_column="label").samples("train").digest()

    assert digest(["a", "b"]) != digest(["b", "a"])


def test_test_data_are_a_part_of_train_where_that_is_asked_for(here: Path):
    Path("a.jsonl").write_text("\n".join(json.dumps({"text": f"text {i}"}) for i in range(100)))
    Path("b.txt").write_text(TEXT)
    for source in ("a.jsonl", "b.txt"):
        data = zoo.TextData(train=source, validation_fraction=0.2, test_fraction=0.3)
        parts = {split: [sample.text for sample in data.samples(split)] for split in ("train", "validation", "test")}
        sizes = {split: sum(map(len, found)) for split, found in parts.items()}
        assert sizes["test"] / sum(sizes.values()) == pytest.approx(0.3, abs=0.02)
        assert sizes["validation"] / sum(sizes.values()) == pytest.approx(0.2, abs=0.02)
        together = parts["train"] + parts["test"] + parts["validation"]
        assert sorted(together) == sorted(texts(train=source, validation=source)) or "".join(together) == TEXT


def test_a_text_of_one_character_cannot_be_divided(here: Path):
    Path("a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a.txt is too small to be divided: nothing is left for train"):
        texts(train="a.txt")


@pytest.mark.parametrize("source", ["pipe.txt", "d", "d/*.txt", "/dev/zero"])
def test_only_regular_files_are_opened(source: str, here: Path):
    os.mkfifo("pipe.txt")
    Path("d").mkdir()
    os.mkfifo("d/pipe.txt")
    with pytest.raises(
        (DataError, MissingInputError), match=r"not a regular file|no files to read|matches no file|not one"
    ):
        texts(train=source)


@pytest.mark.parametrize("source", ["d", "d/**/*.txt", "d/*/a.txt"])
def test_links_that_lead_round_give_no_text_twice_and_are_named(source: str, here: Path):
    for name in ("one", "two"):
        Path("d", name).mkdir(parents=True)
        Path("d", name, "a.txt").write_text(name)
        Path("d", name, "round").symlink_to(here / "d")
        Path("d", name, "other").symlink_to("../one")
    data = zoo.TextData(train=source, validation=source)
    assert [sample.text for sample in data.samples("train")] == ["one", "two"]
    assert ("left out the link d/one/round" in data.describe("train")) == ("*/a" not in source)
