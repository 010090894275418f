"""Folders of models that are cut off, of another kind, or meant to do harm: one line each."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from contract_cases import ADAMW, trainer

import zoo
from zoo.errors import DataError, UserError
from zoo.models import classifiers
from zoo.models import pretrained as hf


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def boundless(path: Path) -> None:
    """A header of 2^60 bytes."""
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


def a_list(path: Path) -> None:
    path.write_text("[1]")


def of_pictures(path: Path) -> None:
    path.write_text(json.dumps({"model_type": "vit"}))


def of_no_kind(path: Path) -> None:
    path.write_text("{}")


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def gone(path: Path) -> None:
    path.unlink()


def load(folder: str) -> None:
    hf.load_tokenizer(folder)
    hf.load_causal_lm(folder, hf.load_config(folder))


DAMAGES = [
    *[("model.safetensors", damage) for damage in (half, empty, boundless, gone)],
    *[("tokenizer.json", damage) for damage in (half, empty, a_list, gone)],
    *[("config.json", damage) for damage in (half, empty, a_list, of_pictures, of_no_kind, no_text)],
    ("tokenizer_config.json", half),
]


@pytest.mark.parametrize(("file", "damage"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_a_damaged_model_is_one_line(file: str, damage: Callable[[Path], None], tiny_gpt2: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_gpt2, folder)
    damage(folder / file)
    with pytest.raises(UserError, match=f"(model|tokenizer) {folder}: ") as found:
        load(str(folder))
    assert found.value.exit_code in (65, 66)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("damage", [half, empty, a_list, no_text])
def test_a_damaged_classifier_is_one_line(damage: Callable[[Path], None], tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    damage(tmp_path / "config.json")
    with pytest.raises(DataError, match=f"model {tmp_path}: its files are damaged"):
        classifiers.find(str(tmp_path))


def test_a_vocabulary_larger_than_the_embedding_is_one_line(tiny_gpt2: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_gpt2, folder)
    tokenizer = hf.load_tokenizer(str(folder))
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    task = zoo.CausalLM(pretrained=str(folder), max_length=16, packing=False, optimizer=ADAMW)
    Path(tmp_path / "t.txt").write_text("a <new> fox\n" * 30)
    assert len(tokenizer) == 301
    with pytest.raises(DataError, match="token 300, and the network's embedding knows tokens below 300"):
        trainer(1).fit(task, datamodule=zoo.TextData(train=str(tmp_path / "t.txt"), batch_size=2))
    assert int(task.example_batch(50)["input_ids"].max()) < 300
