"""Networks of the user's own: against transformers, and what is said of those that cannot be trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import SGD, trainer, weights
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

import zoo
from zoo.errors import ConfigError
from zoo.models import head, own_network

NANO = {"block_size": 32, "width": 16, "layers": 2, "heads": 2}


class OfTransformers(nn.Module):
    """A GPT-2 of transformers in a plain module."""

    def __init__(self, folder: str):
        super().__init__()
        none = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
        self.gpt2 = AutoModelForCausalLM.from_pretrained(folder, **none)

    def forward(self, ids: Tensor) -> Tensor:
        return self.gpt2(ids).logits


class Looking(nn.Module):
    """Each token sees the mean of all, and a head that begins with zeros hides it."""

    def __init__(self, vocab_size: int, zero: bool = False):
        super().__init__()
        self.tokens, self.head = nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size)
        if zero:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        return self.head(x + x.mean(1, keepdim=True))


class LastOnly(Looking):
    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.tokens(ids)[:, -1])


class WithLoss(Looking):
    def forward(self, ids: Tensor) -> Any:
        return self.head(self.tokens(ids)), None


class FewTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))

    def forward(self, ids: Tensor) -> Tensor:
        return self.net(ids)


class Positioned(nn.Module):
    """Keeps packed documents apart by itself: a token sees the mean of its own document so far."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.tokens, self.head = nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size)

    def forward(self, ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        x = self.tokens(ids)  # [B, T, D]
        if position_ids is None:
            position_ids = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        document = (position_ids == 0).cumsum(1)
        sees = (document[:, :, None] == document[:, None, :]).tril().float()  # [B, T, T]
        return self.head(sees @ x / sees.sum(-1, keepdim=True))


HERE = f"{Looking.__module__}."


def task(path: str, model: Path | None = None, **settings: Any) -> zoo.CausalLM:
    architecture = {"class_path": path, "init_args": settings.pop("init_args", {})}
    source = {"tokenizer": str(model)} if model else {"vocab_size": 300}
    usual = {"max_length": 16, "packing": "concat", "optimizer": SGD}
    return zoo.CausalLM(architecture=architecture, **{**source, **usual, **settings})


def fit(one: zoo.CausalLM, text: Path, steps: int = 2, **data: Any) -> zoo.CausalLM:
    trainer(steps).fit(one, datamodule=zoo.TextData(train=str(text), batch_size=8, **data))
    return one.eval()


# Against transformers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [
        {"do_sample": False},
        {"do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.8, "num_return_sequences": 3},
    ],
    ids=["greedy", "sampled"],
)
def test_text_is_generated_as_transformers_does(sampling: dict[str, Any], tiny_gpt2: Path):
    """Prompts of several lengths, padded on the left; without a cache here, and with one there."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    batch = tokenizer(["The 3th fox", "The", "भारत and then sleeps for"], return_tensors="pt", padding=True)
    config = own_network.OwnConfig(f"{HERE}OfTransformers", {"folder": str(tiny_gpt2)}, 300, 64, tokenizer.eos_token_id)
    ours, theirs = own_network.OwnNetwork(config).eval(), AutoModelForCausalLM.from_pretrained(tiny_gpt2).eval()
    found = []
    for network in (ours, theirs):
        torch.manual_seed(0)
        found.append(network.generate(**batch, max_new_tokens=9, pad_token_id=tokenizer.pad_token_id, **sampling))
    assert torch.equal(*found)


def test_generation_ends_where_the_network_ends_the_document():
    network = own_network.OwnNetwork(own_network.OwnConfig(f"{HERE}Positioned", {}, 20, 16, eos_token_id=7)).eval()
    with torch.no_grad():
        network.inner.head.bias[7] = 100.0
    ids = torch.tensor([[1, 2, 3]])
    ended = network.generate(ids, torch.ones_like(ids), max_new_tokens=5, pad_token_id=0)
    assert ended.tolist() == [[1, 2, 3, 7]]
    later = network.generate(ids, torch.ones_like(ids), max_new_tokens=5, pad_token_id=0, min_new_tokens=3)
    assert (later == 7).nonzero().tolist() == [[0, 6]]


def test_beyond_max_length_the_end_of_what_was_written_is_seen():
    network = own_network.OwnNetwork(own_network.OwnConfig("own_networks.NanoGPT", {**NANO, "block_size": 8}, 20, 8))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    ids = torch.arange(20)[None]
    whole = network.eval().generate(ids, torch.ones_like(ids), max_new_tokens=4, pad_token_id=0)
    short = network.generate(ids[:, -8:], torch.ones(1, 8), max_new_tokens=4, pad_token_id=0)
    assert torch.equal(whole[:, -4:], short[:, -4:])
    other = network.generate(ids[:, :8], torch.ones(1, 8), max_new_tokens=4, pad_token_id=0)
    assert not torch.equal(whole[:, -4:], other[:, -4:])


def test_a_run_learns_what_a_run_of_transformers_learns(tiny_gpt2: Path, few_lines: Path):
    """The same weights, data and steps: the losses are those of the network of transformers."""
    own = task(f"{HERE}OfTransformers", tiny_gpt2, init_args={"folder": str(tiny_gpt2)})
    theirs = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=16, packing="concat", optimizer=SGD)
    losses = []
    for one in (own, theirs):
        fit(one, few_lines, 5, documents="lines", validation_fraction=0.4)
        losses.append(one.last_metrics["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_exposed_head_is_computed_in_chunks_with_the_same_loss(tiny_gpt2: Path, few_lines: Path):
    one = fit(task("own_networks.NanoGPT", tiny_gpt2, init_args=NANO), few_lines, 1)
    assert head.is_plain(one.network)
    batch = one.example_batch(3)
    plain = head.cross_entropy(one.logits(batch).flatten(0, 1), batch["targets"].flatten())
    assert torch.allclose(one.loss(batch)[0], plain)
    hidden = one.hidden(batch)
    assert torch.allclose(one.network.inner.head(hidden), one.logits(batch))
    assert not head.is_plain(fit(task(f"{HERE}Positioned", tiny_gpt2), few_lines, 0).network)


def test_its_weights_are_counted_and_saved_once(tiny_gpt2: Path, few_lines: Path):
    one = fit(task("own_networks.NanoGPT", tiny_gpt2, init_args=NANO), few_lines, 0)
    names = [name for name, _ in one.named_parameters()]
    assert all(name.startswith("network.inner.") for name in names)
    assert len(names) == len(set(names)) == len({id(p) for p in one.parameters()})


def test_packed_documents_need_a_network_that_keeps_them_apart(tiny_gpt2: Path, few_lines: Path):
    fit(task(f"{HERE}Positioned", tiny_gpt2, packing=True), few_lines, documents="lines")
    with pytest.raises(ConfigError, match="NanoGPT cannot mask attention across packed documents. Set model.packing"):
        fit(task("own_networks.NanoGPT", tiny_gpt2, init_args=NANO, packing=True), few_lines, documents="lines")


# The export -----------------------------------------------------------------------------------------------------


def test_the_lines_of_the_card_load_the_export(tiny_gpt2: Path, few_lines: Path, tmp_path: Path, monkeypatch: Any):
    one = fit(task("own_networks.NanoGPT", tiny_gpt2, init_args=NANO), few_lines)
    one.save_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for code in (tmp_path / "README.md").read_text().split("```python\n")[1:]:
        exec(code.partition("```")[0], found)
    ids = found["ids"]
    assert torch.equal(found["network"](ids), one.logits({"input_ids": ids}))
    assert json.loads((tmp_path / "network.json").read_text())["init_args"] == {"vocab_size": 300, **NANO}
    assert set(load_file(tmp_path / "model.safetensors")) <= set(one.network.inner.state_dict())


def test_the_lines_of_the_card_load_an_image_classifier(tmp_path: Path, monkeypatch: Any):
    architecture = {"class_path": "own_networks.SmallNet", "init_args": {"width": 8}}
    one = zoo.ImageClassification(architecture=architecture, image_size=8, optimizer=SGD)
    data = zoo.ImageData(train="python:sklearn.datasets.load_digits", limit=40, batch_size=8, num_workers=0)
    trainer(2).fit(one, datamodule=data)
    one.eval().save_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    card = (tmp_path / "README.md").read_text()
    found: dict[str, Any] = {}
    exec(card.partition("```python\n")[2].partition("```")[0], found)
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(found["network"]((images / 255 - 0.5) / 0.5), one.logits({"image": images}), atol=1e-6)
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in card


# What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("own_networks.NanoGTP", {}, "class_path is 'own_networks.NanoGTP': module 'own_networks' has no attribute"),
        ("my_lab_that_is_none.NanoGPT", {}, "No module named 'my_lab_that_is_none'. Expected the class of a network"),
        ("NanoGPT", {}, "class_path is 'NanoGPT'.* Expected the class of a network, as my_lab.NanoGPT"),
        ("own_networks.NanoGPT", {"n_layer": 2}, "unexpected keyword argument 'n_layer'. It takes vocab_size, block_s"),
        ("own_networks.NanoGPT", {**NANO, "heads": 3}, r"NanoGPT fails on tokens up to 299 .*shape"),
        ("own_networks.NanoGPT", {**NANO, "vocab_size": 20}, r"fails on tokens up to 299 \(300 are in the tokenizer\)"),
        (
            "own_networks.NanoGPT",
            {**NANO, "vocab_size": 400},
            r"\[2, 8, 400\] of token ids .* \[2, 8, 300\]",
        ),
        ("own_networks.NanoGPT", {**NANO, "block_size": 9}, r"NanoGPT fails on 16 tokens \(model.max_length\)"),
        (f"{HERE}Looking", {}, "Looking is not causal: changing the last token changes the logits of earlier ones"),
        (f"{HERE}Looking", {"zero": True}, "Looking is not causal"),
        (f"{HERE}LastOnly", {}, r"LastOnly makes a Tensor of shape \[2, 300\] of token ids of shape \[2, 8\]"),
        (f"{HERE}WithLoss", {}, r"WithLoss makes a tuple of token ids of shape \[2, 8\]. Expected logits"),
        (f"{HERE}FewTokens", {}, r"FewTokens fails on tokens up to 299"),
        ("torch.nn.functional.gelu", {}, "is torch.nn.functional.gelu, a function of the package torch"),
        ("subprocess.Popen", {"args": ["true"]}, "something of Python's standard library"),
        (f"{HERE}fit", {}, "is no class of a torch.nn.Module|a function of"),
    ],
)
def test_a_network_that_cannot_be_trained_is_told_in_one_line(
    path: str, arguments: dict[str, Any], message: str, tiny_gpt2: Path, few_lines: Path
):
    with pytest.raises(ConfigError, match=message) as caught:
        fit(task(path, tiny_gpt2, init_args=arguments), few_lines)
    assert "\n" not in str(caught.value)


def test_settings_beside_the_class_path_are_refused(tiny_gpt2: Path, few_lines: Path):
    one = task("own_networks.NanoGPT", tiny_gpt2)
    one.architecture = {"class_path": "own_networks.NanoGPT", "width": 16}
    with pytest.raises(ConfigError, match="model.architecture has width beside class_path. .* under init_args"):
        fit(one, few_lines)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_checkpointing": True, "path": f"{HERE}Positioned"}, "needs a method gradient_checkpointing_enable"),
        ({"dropout": 0.1, "path": f"{HERE}Positioned"}, "model.dropout is 0.1, and .*Positioned has no dropout layer"),
    ],
)
def test_what_zoo_cannot_set_in_it_is_refused(settings: dict[str, Any], message: str, tiny_gpt2: Path, few_lines: Path):
    path = settings.pop("path", "own_networks.NanoGPT")
    with pytest.raises(ConfigError, match=message):
        fit(task(path, tiny_gpt2, **settings), few_lines)


def test_its_own_dropout_stays_unless_another_is_set(tiny_gpt2: Path, few_lines: Path):
    for setting, expected in ((0.0, 0.2), (0.5, 0.5)):
        one = fit(
            task("own_networks.NanoGPT", tiny_gpt2, init_args={**NANO, "dropout": 0.2}, dropout=setting), few_lines, 0
        )
        assert {m.p for m in one.network.modules() if isinstance(m, nn.Dropout)} == {expected}


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("own_networks.SmallNet", {"num_classes": 4}, r"makes a Tensor of shape \[2, 4\] of images .* the 10 classes"),
        ("own_networks.NanoGPT", {"vocab_size": 9}, r"NanoGPT fails on images of shape \[2, 3, 8, 8\]"),
    ],
)
def test_an_image_classifier_that_cannot_be_trained_is_told(path: str, arguments: dict[str, Any], message: str):
    architecture = {"class_path": path, "init_args": arguments}
    one = zoo.ImageClassification(architecture=architecture, image_size=8, optimizer=SGD)
    data = zoo.ImageData(train="python:sklearn.datasets.load_digits", limit=40, batch_size=8, num_workers=0)
    with pytest.raises(ConfigError, match=message):
        trainer(1).fit(one, datamodule=data)


def image_weights(steps: int, **settings: Any) -> Tensor:
    """Of an image classifier of one's own after some steps."""
    architecture = {"class_path": "own_networks.SmallNet", "init_args": {"width": 8}}
    one = zoo.ImageClassification(architecture=architecture, image_size=8, optimizer=SGD, **settings)
    data = zoo.ImageData(train="python:sklearn.datasets.load_digits", limit=40, batch_size=8, num_workers=0)
    trainer(steps).fit(one, datamodule=data)
    return weights(one)


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.2, "layer_decay": 0.9}], ids=["plain", "dropout"])
def test_an_image_classifier_trains_in_micro_batches_as_in_whole_batches(settings: dict[str, Any]):
    start, whole, parts = (
        image_weights(0),
        image_weights(5, **settings),
        image_weights(5, micro_batch_size=3, **settings),
    )
    assert (whole - start).abs().max() > 1e-2
    exact = not settings
    assert torch.allclose(parts, whole, atol=1e-5) is exact
    assert torch.equal(parts, image_weights(5, micro_batch_size=3, **settings))


def test_the_size_of_images_has_to_be_said():
    architecture = {"class_path": "own_networks.SmallNet"}
    data = zoo.ImageData(train="python:sklearn.datasets.load_digits", limit=40, batch_size=8, num_workers=0)
    with pytest.raises(ConfigError, match="model.image_size is not set"):
        trainer(1).fit(zoo.ImageClassification(architecture=architecture, optimizer=SGD), datamodule=data)


# From the command line, and out of a checkpoint -----------------------------------------------------------------


def test_its_arguments_are_flags_and_a_run_with_others_is_not_resumed(few_lines: Path, here: Path, zoo_command: Any):
    (here / "c.yaml").write_text(
        f"model:\n  class_path: zoo.CausalLM\n  init_args:\n    architecture:\n      class_path: own_networks.NanoGPT\n"
        f"      init_args: {json.dumps(NANO)}\n    vocab_size: 300\n    max_length: 16\n    packing: concat\n"
        f"data: {{class_path: zoo.TextData, init_args: {{train: {few_lines}, batch_size: 4}}}}\n"
    )
    flags = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--name=a"]
    width = "--model.architecture.init_args.width"
    code, _, complaint = zoo_command("fit", "--config", "c.yaml", width, "8", *flags)
    assert (code, complaint) == (0, "")
    assert zoo.load("runs/a/1").network.inner.tokens.embedding_dim == 8
    code, _, complaint = zoo_command("fit", "--resume", "runs/a/1", width, "16", "--trainer.max_steps=3")
    assert code == 2
    assert "made with model.architecture.width=8, the config says 16" in complaint
    assert len(complaint.splitlines()) == 1
    code, _, complaint = zoo_command(
        "fit", "--resume", "runs/a/1", "--trainer.max_steps=3", "--allow-change=trainer.max_steps"
    )
    assert code == 0, complaint


def test_a_class_path_out_of_a_strangers_checkpoint_is_not_called(tiny_gpt2: Path, here: Path):
    kept = {
        "tokenizer": {},
        "config": own_network.OwnConfig("subprocess.Popen", {"args": ["touch", "x"]}, 9, 9).to_dict(),
    }
    one = task("own_networks.NanoGPT", tiny_gpt2)
    one.architecture = "gpt2"  # what config.yaml says need not be what the checkpoint says
    one.restore({"zoo": {"data_state": kept}})
    with pytest.raises(ConfigError, match=r"subprocess.Popen, something of Python's standard library"):
        one.configure_model()
    assert not (here / "x").exists()
