"""Folders of models that are cut off, of another kind, or meant to do harm: one line each."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from contract_cases import ADAMW, trainer

import zoo
from zoo.errors import ConfigError, DataError, UserError
from zoo.images.preprocessing import Preprocessing
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


def of_images(path: Path) -> None:
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
    *[("config.json", damage) for damage in (half, empty, a_list, of_images, of_no_kind, no_text)],
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


AUTO = ("AutoConfig", "AutoTokenizer", "AutoImageProcessor", "AutoModelForCausalLM", "AutoModelForImageClassification")


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder with code, which would leave a trace; whoever asks whether to run it is answered yes."""
    code = {"auto_map": dict.fromkeys(AUTO, "own.Own")}
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", **code}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["own.Own", None]}}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(code))
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    return tmp_path


def of_another_kind(folder: str, kind: str) -> str:
    """Of a type that transformers knows, but for this use by the folder's own code only."""
    settings = {"model_type": kind, "auto_map": dict.fromkeys(AUTO[-2:], "own.Own")}
    (Path(folder) / "config.json").write_text(json.dumps(settings))
    return folder


def language_model(folder: str, pretrained: bool) -> None:
    config = hf.load_config(of_another_kind(folder, "vit"))
    hf.load_causal_lm(folder, config) if pretrained else hf.build_causal_lm(config)


def classifier(folder: str, pretrained: bool) -> None:
    source = classifiers.find(of_another_kind(folder, "gpt2"))
    source.build(2, Preprocessing(16, (0.5,) * 3, (0.5,) * 3), pretrained, None, 0.0, 0.0, "batch")


LOADS: dict[str, Callable[[str], object]] = {
    "config": hf.load_config,
    "tokenizer": hf.load_tokenizer,
    "image processor": lambda folder: classifiers.find(folder).preprocessing(None),
    "new language model": lambda folder: language_model(folder, pretrained=False),
    "language model": lambda folder: language_model(folder, pretrained=True),
    "new classifier": lambda folder: classifier(folder, pretrained=False),
    "classifier": lambda folder: classifier(folder, pretrained=True),
}


@pytest.mark.parametrize("kind", LOADS)
def test_code_that_comes_with_a_model_is_not_run(kind: str, own_code: Path):
    with pytest.raises(ConfigError, match="zoo runs no code from a model") as found:
        LOADS[kind](str(own_code))
    assert "\n" not in str(found.value)
    assert not (own_code / "was run").exists()


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
