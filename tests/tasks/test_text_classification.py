"""TextClassification against plain transformers, for encoders and causal models."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from contract_cases import ANIMALS, BERT, SGD, animals, tiny_bert, trainer, weights
from safetensors.torch import load_file, save_file

import zoo
from zoo.errors import ConfigError, DataError
from zoo.models import layers, text_classifiers
from zoo.models import pretrained as hf

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LIMITED = {**SIZES, "max_position_embeddings": 80}
GROUPED = {**LIMITED, "num_key_value_heads": 1, "head_dim": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": LIMITED,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 80},
    "roberta": LIMITED,
    "xlm-roberta": LIMITED,
    "deberta-v2": {**LIMITED, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {**LIMITED, "local_attention": 8},
    "albert": {**LIMITED, "embedding_size": 8},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 80},
    "llama": GROUPED,
    "qwen3": GROUPED,
    "gemma2": GROUPED,
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
}
"""Encoders, and causal models: with absolute, rotary, relative and no positions."""
TEXTS = ["The fox", "लोमड़ी सोती रही, and the dog sleeps.", "", "A cat eats. " * 3]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, few_lines: Path) -> Path:
    text = tmp_path_factory.mktemp("animals") / "fox.txt"
    text.write_text(few_lines.read_text())
    return animals(text)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert", [table.read_text()])


def data(table: Path, **settings: Any) -> zoo.TextData:
    return zoo.TextData(
        **{"train": str(table), "label_column": "label", "batch_size": 8, "eval_batch_size": 9, **settings}
    )


def scratch(family: str = "bert", **settings: Any) -> zoo.TextClassification:
    architecture = {"model_type": family, **FAMILIES[family]}
    usual = {"architecture": architecture, "vocab_size": 300, "max_length": 64, "optimizer": SGD}
    return zoo.TextClassification(**{**usual, **settings})


def fit(task: zoo.TextClassification, table: Path, steps: int = 2, **settings: Any) -> zoo.TextClassification:
    trainer(steps).fit(task, datamodule=data(table, **settings))
    return task.eval()


def logits(task: zoo.TextClassification, texts: list[str]) -> torch.Tensor:
    processor = task.processor("predict")
    return task.logits(processor.collate(processor.encode([zoo.TextSample(text) for text in texts])))


# What other texts in the batch do -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_has_the_same_logits_alone_and_padded_in_a_batch(family: str, table: Path):
    task = fit(scratch(family), table, 0)
    with torch.no_grad():  # new weights are so small that an answer hardly depends on the text
        for parameter in task.network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    alone = torch.cat([logits(task, [text]) for text in TEXTS])
    assert torch.allclose(logits(task, TEXTS), alone, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 5e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_transformers_has_the_same_logits_of_the_export(family: str, table: Path, tmp_path: Path):
    task = fit(scratch(family), table)
    task.save_model(tmp_path)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    batch = tokenizer([text for text in TEXTS if text], return_tensors="pt", padding=True)
    assert torch.allclose(network(**batch).logits, logits(task, [text for text in TEXTS if text]), atol=1e-5)
    assert [network.config.id2label[i] for i in range(3)] == list(ANIMALS)


def test_a_pipeline_of_transformers_answers_the_same(table: Path, tmp_path: Path):
    task = fit(scratch(), table)
    task.save_model(tmp_path)
    theirs = transformers.pipeline("text-classification", str(tmp_path), top_k=None)(TEXTS[:2])
    for found, prediction in zip(theirs, task.predict(TEXTS[:2]), strict=True):
        assert [one["label"] for one in found] == [one["label"] for one in prediction["top"]]
        assert [one["score"] for one in found] == pytest.approx(
            [one["probability"] for one in prediction["top"]], abs=1e-5
        )


def test_a_causal_model_reads_the_last_token_of_a_text_that_is_not_padding(tiny_gpt2: Path, table: Path):
    """Its tokenizer has no padding token, so that of the end of a text stands there."""
    task = fit(zoo.TextClassification(pretrained=str(tiny_gpt2), max_length=64, optimizer=SGD), table)
    ids = task.tokenizer("The fox sleeps")["input_ids"]
    hidden = task.network.transformer(torch.tensor([ids]))[0][0]
    assert torch.allclose(logits(task, ["The fox sleeps", "x" * 60])[0], task.network.score(hidden[-1]), atol=1e-5)


def test_a_causal_model_keeps_no_cache_of_a_text(table: Path):
    task = fit(scratch("llama"), table)
    batch = task.example_batch(2)
    assert task.network(input_ids=batch["input_ids"]).past_key_values is None


@pytest.mark.parametrize("family", ["xlnet", "fnet"])
def test_an_architecture_that_looks_at_padding_is_refused(family: str, table: Path):
    sizes = {"xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
             "fnet": {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}}[family]  # fmt: skip
    task = scratch(architecture={"model_type": family, **sizes})
    with pytest.raises(ConfigError, match=f"{family} answers otherwise when padding stands behind a text"):
        fit(task, table)


def test_a_micro_batch_is_padded_to_its_own_longest_text(table: Path):
    task = fit(scratch(), table)
    processor = task.processor("train")
    batch = processor.collate(processor.encode([zoo.TextSample(text, "fox") for text in TEXTS]))
    short = {name: value[:1] for name, value in batch.items()}
    assert task.trim(short)["input_ids"].shape == (1, short["lengths"][0])
    assert torch.equal(task.logits(task.trim(short)), logits(task, TEXTS[:1]))


# Lengths --------------------------------------------------------------------------------------------------------


def test_longer_texts_are_cut_between_their_special_tokens_and_counted(table: Path, capsys: pytest.CaptureFixture[str]):
    task = fit(scratch(max_length=8), table)
    item = task.processor("train").encode([zoo.TextSample("one two three four five six seven eight", "fox")])[0]
    whole = task.tokenizer("one two three four five six seven eight")["input_ids"]
    assert item["input_ids"].tolist() == [*whole[:7], whole[-1]]
    assert "texts of at most 8 tokens, of which 54 are longer and were cut" in capsys.readouterr().out


def test_batches_of_about_the_same_length_can_be_asked_for(table: Path):
    task = scratch()
    t, module = trainer(1), data(table, group_by_length=True)
    t.fit(task, datamodule=module)
    lengths = [
        [len(module.items["train"][i]["input_ids"]) for _, i in t.train_dataloader.batch_sampler.batch(k)]
        for k in range(6)
    ]
    spread = sum(max(batch) - min(batch) for batch in lengths) / 6
    assert spread < (max(map(max, lengths)) - min(map(min, lengths))) / 2


@pytest.mark.parametrize(("family", "room"), [("bert", 80), ("roberta", 80 - 1), ("bloom", None)])
def test_a_length_beyond_the_positions_is_refused(family: str, room: int | None, table: Path):
    """RoBERTa counts its positions from the padding token's number on, which is 0 here."""
    if room is None:
        fit(scratch(family, max_length=1000), table, 1)
        return
    fit(scratch(family, max_length=room), table, 1)
    with pytest.raises(ConfigError, match=f"max_length is {room + 1}; this architecture has {room} positions"):
        fit(scratch(family, max_length=room + 1), table, 1)


# Classes --------------------------------------------------------------------------------------------------------


def write(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *rows])
    return path


def test_classes_are_in_the_order_of_their_names_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [[f"text number {i}", label] for i in range(12) for label in ("b10", "b9", "कुत्ता", "a")]
    task = fit(scratch(), write(tmp_path / "a.csv", [*rows, *[["one more", "a"]] * 5]))
    assert task.label_names == ["a", "b9", "b10", "कुत्ता"]
    assert "4 classes (a 15, b10 11, b9 11, कुत्ता 11)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["one", "a"], ["two", "a"], ["three", "a"]], r"data.train has only one class \(a\)"),
        (
            [["one", "a"], ["two", "b"], ["three", ""]],
            r"data.train: 1 of 3 texts have no class \(three\).*label_column",
        ),
    ],
)
def test_training_texts_need_two_classes_and_each_its_own(rows: list[list[str]], message: str, tmp_path: Path):
    table = write(tmp_path / "a.csv", rows)
    with pytest.raises(DataError, match=message):
        fit(scratch(), table, validation=str(table))


def test_texts_without_a_column_of_classes_are_told_which_setting_names_it(table: Path):
    with pytest.raises(DataError, match=r"texts have no class .* named by data.label_column"):
        fit(scratch(), table, label_column=None)


def test_a_class_that_was_not_trained_is_refused_in_validation(table: Path, tmp_path: Path):
    other = write(tmp_path / "b.csv", [["a text", "wolf"]])
    with pytest.raises(DataError, match="data.validation has 'wolf', which the model does not know; its 3 classes are"):
        fit(scratch(), table, validation=str(other))


def test_every_class_is_held_out_alike(table: Path):
    module = data(table, validation_fraction=0.2)
    trainer(1).fit(scratch(), datamodule=module)
    held = [item["label"] for item in module.items["validation"]]
    assert sorted(held) == [0] * 4 + [1] * 4 + [2] * 4


def test_weights_that_know_these_classes_keep_their_head(bert: Path, tmp_path: Path, table: Path):
    swapped = tiny_bert(tmp_path / "swapped", [table.read_text()], ("fox", "dog", "cat"))
    task = fit(zoo.TextClassification(pretrained=str(swapped), max_length=64, optimizer=SGD), table, 0)
    assert task.label_names == ["fox", "dog", "cat"]
    assert torch.equal(task.network.classifier.weight, load_file(swapped / "model.safetensors")["classifier.weight"])


def test_weights_for_other_classes_get_a_new_head_and_keep_the_rest(bert: Path, tmp_path: Path):
    table = write(tmp_path / "a.csv", [[f"text {i}", "ab"[i % 2]] for i in range(20)])
    task = fit(zoo.TextClassification(pretrained=str(bert), max_length=64, optimizer=SGD), table, 0)
    assert task.network.classifier.weight.shape == (2, 16)
    stored = load_file(bert / "model.safetensors")
    body = {name: value for name, value in task.network.state_dict().items() if name.startswith("bert.")}
    assert all(torch.equal(value, stored[name]) for name, value in body.items())


def test_weights_that_lack_a_layer_of_the_body_are_refused(bert: Path, tmp_path: Path, table: Path):
    folder = shutil.copytree(bert, tmp_path / "lacking")
    stored = load_file(folder / "model.safetensors")
    stored.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="weights do not match BertForSequenceClassification: 1 are missing"):
        fit(zoo.TextClassification(pretrained=str(folder), max_length=64, optimizer=SGD), table, 0)


def test_weights_that_classify_already_are_asked_and_tested_untrained(bert: Path, table: Path):
    task = zoo.TextClassification(pretrained=str(bert), max_length=64, optimizer=SGD)
    trainer(0).validate(task, datamodule=data(table), verbose=False)
    assert task.last_metrics["loss"] == pytest.approx(1.1, abs=0.1)
    assert task.predict("The fox")[0]["label"] in ANIMALS


def test_a_language_model_has_no_classes_before_it_is_trained(tiny_gpt2: Path, table: Path):
    task = zoo.TextClassification(pretrained=str(tiny_gpt2), max_length=64, optimizer=SGD)
    with pytest.raises(ConfigError, match="no classes before it is trained"):
        trainer(0).validate(task, datamodule=data(table), verbose=False)


# Training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "gpt2", "modernbert"])
def test_a_frozen_backbone_keeps_its_weights_and_the_head_learns(family: str, table: Path, tmp_path: Path):
    first = fit(scratch(family), table, 0)
    first.save_model(tmp_path)
    task = zoo.TextClassification(pretrained=str(tmp_path), max_length=64, freeze="backbone", optimizer=SGD)
    fit(task, table, 3)
    before, after = first.network.state_dict(), task.network.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert moved <= text_classifiers.head(task.network)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_nearer_to_the_text_learn_more_slowly(family: str, table: Path):
    task = fit(scratch(family, layer_decay=0.5), table, 0)
    depths = layers.depths(task.network)
    assert min(depths.values()) == 0
    embeddings = task.network.get_input_embeddings().weight
    name = next(name for name, p in task.network.named_parameters() if p is embeddings)
    assert depths[name] == 0
    head = text_classifiers.head(task.network)
    assert all(depths[one] == max(depths.values()) for one in head)
    shared = family == "albert"  # whose layers are one
    assert sorted({*depths.values()}) == ([0, 1, 2] if shared else [0, 1, 2, 3])
    settings = task.parameter_settings(f"network.{name}", embeddings)
    assert settings["lr_scale"] == 0.5 ** max(depths.values())


def test_a_pretrained_backbone_is_loaded_again_for_a_run_that_trained_its_head(
    bert: Path, table: Path, here: Path, zoo_command: Any
):
    flags = [f"--model.pretrained={bert}", "--model.max_length=64", "--model.freeze=backbone"]
    flags += [f"--data.train={table}", "--data.label_column=label", "--data.batch_size=8"]
    classes = [
        "--model=zoo.TextClassification",
        "--data=zoo.TextData",
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.1",
    ]
    code, _, complaint = zoo_command(
        "fit", *classes, *flags, "--trainer.max_steps=3", "--trainer.accelerator=cpu", "--name=a"
    )
    assert (code, complaint) == (0, "")
    task = zoo.load("runs/a/1", "last")
    exported = transformers.AutoModelForSequenceClassification.from_pretrained(here / "runs/a/1/model")
    assert torch.equal(weights(task), torch.cat([p.detach().flatten() for p in exported.parameters()]))


def test_an_architecture_that_is_none_for_texts_is_refused(table: Path):
    with pytest.raises(ConfigError, match="transformers has no text classifier of type vit"):
        fit(scratch(architecture={"model_type": "vit"}), table)


# What is left of a test -----------------------------------------------------------------------------------------


def test_a_test_leaves_its_report(table: Path, here: Path, zoo_command: Any):
    flags = [f"--model.architecture={json.dumps(BERT)}", "--model.vocab_size=300", "--model.max_length=64"]
    flags += [f"--data.train={table}", "--data.label_column=label", "--data.test_fraction=0.5", "--data.batch_size=8"]
    classes = [
        "--model=zoo.TextClassification",
        "--data=zoo.TextData",
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.001",
    ]
    zoo_command("fit", *classes, *flags, "--trainer.max_steps=2", "--trainer.accelerator=cpu", "--name=a")
    code, _, _ = zoo_command("test")
    assert code == 0
    folder = here / "runs/a/1/test"
    assert (folder / "confusion.png").is_file()
    found = json.loads((here / "runs/a/1/metrics.json").read_text())["test"]["metrics"]
    assert found["majority_accuracy"] == pytest.approx(1 / 3, abs=0.05)
    rows = list(csv.DictReader((folder / "mistakes.csv").open(encoding="utf-8")))
    originals = {(row["text"], row["label"]) for row in csv.DictReader(table.open(encoding="utf-8"))}
    assert rows
    assert all((row["text"], row["label"]) in originals and row["predicted"] != row["label"] for row in rows)
    assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
    wrong = round((1 - found["accuracy"]) * found["texts"])
    assert len(rows) == min(20, wrong)


def test_predictions_are_of_one_text_or_of_several(table: Path):
    task = fit(scratch(), table)
    assert task.predict("भारत") == task.predict(["भारत"])
    assert [one["text"] for one in task.predict(["a", "b"])] == ["a", "b"]
    assert task.predict([]) == []
    assert sum(one["probability"] for one in task.predict("")[0]["top"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(DataError, match="texts are classified, and this is none: 7"):
        task.predict(7)


def test_a_prompt_on_the_command_line_and_a_file_are_classified(table: Path, here: Path, zoo_command: Any):
    flags = [f"--model.architecture={json.dumps(BERT)}", "--model.vocab_size=300", "--model.max_length=64"]
    flags += [f"--data.train={table}", "--data.label_column=label", "--data.batch_size=8", "--name=a"]
    classes = [
        "--model=zoo.TextClassification",
        "--data=zoo.TextData",
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.1",
    ]
    zoo_command("fit", *classes, *flags, "--trainer.max_steps=1", "--trainer.accelerator=cpu")
    code, said, _ = zoo_command("predict", "--prompt", "The fox")
    assert code == 0
    assert "The fox: " in said
    (here / "lines.txt").write_text("one\ntwo\n")
    (here / "rows.csv").write_text("text\none\ntwo\nthree\n")
    for source, count in (("lines.txt", 2), ("rows.csv", 3), (table, 60)):
        code, said, complaint = zoo_command("predict", "--data.predict", source)
        assert (code, complaint) == (0, "")
        assert len((here / "runs/a/1/predictions.jsonl").read_text().splitlines()) == count


def test_a_text_is_shown_as_its_tokens_and_class(table: Path):
    task = fit(scratch(), table)
    [item] = task.processor("train").encode([zoo.TextSample("The fox", "fox")])
    assert task.show_loss_mask(item) == f"{len(item['input_ids'])} tokens, class fox: [CLS]The fox[SEP]"


def test_a_tokenizer_that_does_not_go_with_the_network_is_told(
    bert: Path, tiny_gpt2: Path, table: Path, tmp_path: Path
):
    tokenizer = hf.train_tokenizer([table.read_text()], 400)
    tokenizer.save_pretrained(tmp_path)
    task = zoo.TextClassification(pretrained=str(bert), tokenizer=str(tmp_path), max_length=64, optimizer=SGD)
    with pytest.raises((ConfigError, DataError), match=r"embedding"):
        fit(task, table)
