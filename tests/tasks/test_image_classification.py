"""ImageClassification against plain timm and transformers, and where a network is hard for law 1."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from contract_cases import ADAMW, SGD, tiny_vit, trainer, weights
from lightning.pytorch.callbacks import LambdaCallback
from PIL import Image
from sklearn.datasets import load_sample_images

import zoo
from zoo.errors import ConfigError
from zoo.images.augment import Augmentation
from zoo.models import classifiers

PLAIN = Augmentation(scale=1, hflip=0)
RESNET = {"name": "resnet18", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def digits(**kwargs: Any) -> zoo.ImageData:
    sizes = {"limit": 40, "validation_fraction": 0.02, "batch_size": 8, "eval_batch_size": 16, "num_workers": 0}
    return zoo.ImageData(**{"train": "python:sklearn.datasets.load_digits", **sizes, **kwargs})


def resnet(**kwargs: Any) -> zoo.ImageClassification:
    settings = {"architecture": RESNET, "image_size": 32, "augmentation": PLAIN, "optimizer": SGD}
    return zoo.ImageClassification(**{**settings, **kwargs})


def fit(task: zoo.ImageClassification, steps: int = 3, **data: Any) -> zoo.ImageClassification:
    trainer(steps).fit(task, datamodule=digits(**data))
    return task.eval()


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vit(tmp_path_factory.mktemp("vit") / "tiny-vit")


@pytest.fixture(scope="module")
def hf_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of transformers for two classes, with its image processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("hf") / "vit"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **sizes)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.4] * 3).save_pretrained(folder)
    return folder


def pictures(side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=generator)


# Exports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_exported_model_has_the_same_logits_in_plain_timm(tmp_path: Path, norm: classifiers.Norm):
    task = fit(resnet(architecture=RESNET | {"channels": [64] * 4}, image_size=64, norm=norm, channels_last=True))
    task.save_model(tmp_path / "model")
    again = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(again)
    images = pictures(64)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    ours = task.logits({"image": images})
    assert torch.allclose(again((images / 255 - mean) / std), ours, atol=1e-5)
    assert config["input_size"] == (3, 64, 64)


def test_the_exported_weights_load_by_checkpoint_path_in_plain_timm(tmp_path: Path):
    task = zoo.ImageClassification(architecture="resnet18", image_size=32, augmentation=PLAIN, optimizer=SGD)
    fit(task, steps=1).save_model(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    again = timm.create_model("resnet18", num_classes=10, checkpoint_path=str(path)).eval()
    images = pictures(32)
    assert torch.allclose(again(task.normalise(images)), task.logits({"image": images}), atol=1e-5)


@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_the_export_of_a_network_of_timm_has_the_same_logits_in_transformers(network: str, vit: Path, tmp_path: Path):
    from transformers import AutoModelForImageClassification

    of_vit = {"pretrained": str(vit), "architecture": None, "image_size": 32}
    task = fit(resnet(**of_vit if network == "vit" else {"architecture": RESNET}), 1)
    task.save_model(tmp_path / "model")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    images = pictures(32)
    assert torch.allclose(again(task.normalise(images)).logits, task.logits({"image": images}), atol=1e-5)
    assert [again.config.id2label[i] for i in range(10)] == task.label_names


SMALL = {
    "convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "image_size": 64},
    "levit": {"hidden_sizes": [16, 24, 32], "depths": [1, 1, 1], "key_dim": [8] * 3, "num_attention_heads": [2] * 3,
              "image_size": 64},
    "mobilevit": {"hidden_sizes": [16] * 3, "neck_hidden_sizes": [8] * 7, "image_size": 64},
}  # fmt: skip
PROCESSORS = {
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.8}),
    "levit": ("LevitImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}),
    "mobilevit": ("MobileViTImageProcessor", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}),
}


@pytest.mark.parametrize("family", ["vit", *SMALL])
def test_the_exported_model_answers_the_same_in_a_pipeline_of_transformers(family: str, hf_vit: Path, tmp_path: Path):
    from transformers import AutoConfig, AutoModelForImageClassification, pipeline

    folder = hf_vit if family == "vit" else tmp_path / family
    if family in SMALL:
        config = AutoConfig.for_model(family, architectures=[], **SMALL[family])
        AutoModelForImageClassification.from_config(config).save_pretrained(folder)
        name, settings = PROCESSORS[family]
        getattr(transformers, name)(**settings).save_pretrained(folder)
    task = fit(zoo.ImageClassification(pretrained=str(folder), augmentation=PLAIN, optimizer=SGD))
    task.save_model(tmp_path / "model")
    image = Image.fromarray(load_sample_images().images[0]).resize((141, 97))
    theirs = pipeline("image-classification", str(tmp_path / "model"))(image)
    (ours,) = task.predict([image])
    assert [one["label"] for one in theirs] == [one["label"] for one in ours["top"]]
    assert [one["score"] for one in theirs] == pytest.approx([one["probability"] for one in ours["top"]], abs=1e-5)


def test_a_family_with_two_kinds_of_heads_begins_from_scratch():
    architecture = {"model_type": "levit", **SMALL["levit"]}
    task = fit(zoo.ImageClassification(architecture=architecture, augmentation=PLAIN, optimizer=SGD), 1)
    assert type(task.network).__name__ == "LevitForImageClassification"


def test_a_drop_path_that_the_architecture_does_not_take_is_refused():
    architecture = {"model_type": "levit", **SMALL["levit"]}
    with pytest.raises(ConfigError, match="model.drop_path is 0.1, which levit does not take"):
        fit(zoo.ImageClassification(architecture=architecture, drop_path=0.1, optimizer=SGD), 1)


def test_a_run_of_a_model_folder_starts_from_its_weights_and_keeps_its_head(vit: Path):
    task = zoo.ImageClassification(pretrained=str(vit), augmentation=PLAIN, optimizer=SGD)
    trainer(0).validate(task, datamodule=digits(), verbose=False)
    reference = timm.create_model(f"local-dir:{vit}", pretrained=True)
    assert all(torch.equal(tensor, reference.state_dict()[name]) for name, tensor in task.network.state_dict().items())


def test_position_embeddings_are_interpolated_to_the_size_asked_for(vit: Path):
    task = zoo.ImageClassification(pretrained=str(vit), image_size=16, augmentation=PLAIN, optimizer=SGD)
    trainer(0).validate(task, datamodule=digits(), verbose=False)
    reference = timm.create_model(f"local-dir:{vit}", pretrained=True, img_size=16)
    assert torch.equal(task.network.pos_embed, reference.pos_embed)
    assert task.predict([np.zeros((8, 8), dtype=np.uint8)])[0]["probability"] > 0


def test_preprocessing_comes_from_the_model(hf_vit: Path):
    wanted = classifiers.find(str(hf_vit)).preprocessing(None)
    assert (wanted.size, wanted.mean, wanted.std) == (16, (0.4, 0.4, 0.4), (0.5, 0.5, 0.5))
    wanted = classifiers.find("vit_base_patch16_224.augreg_in21k").preprocessing(None)
    assert (wanted.size, wanted.mean, wanted.std, wanted.crop) == (224, (0.5,) * 3, (0.5,) * 3, 0.9)


def test_a_misspelt_network_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean resnet18"):
        classifiers.find("resnet_18")


# What the network is told ---------------------------------------------------------------------------------------


def gradients(source: Path, **settings: Any) -> tuple[torch.Tensor, int]:
    """Gradients of one batch, and how often the first layer's attention was run for them."""
    task = fit(zoo.ImageClassification(pretrained=str(source), augmentation=PLAIN, optimizer=SGD, **settings), 0)
    calls: list[int] = []
    first = task.network.vit.layers[0].attention if hasattr(task.network, "vit") else task.network.blocks[0].attn
    first.register_forward_pre_hook(lambda *_: calls.append(1))
    total, count = task.train().loss(task.example_batch(6))
    (total / count).backward()
    return torch.cat([p.grad.flatten() for p in task.parameters()]), len(calls)


@pytest.mark.parametrize("library", ["vit", "hf_vit"])
def test_activations_that_are_computed_again_give_the_same_gradients(library: str, request: pytest.FixtureRequest):
    source = request.getfixturevalue(library)
    kept, once = gradients(source)
    again, twice = gradients(source, gradient_checkpointing=True)
    assert (once, twice) == (1, 2)
    assert torch.allclose(kept, again, atol=1e-7)


def test_drop_path_rises_to_the_share_that_is_asked_for(vit: Path):
    task = zoo.ImageClassification(pretrained=str(vit), drop_path=0.4, augmentation=PLAIN, optimizer=SGD)
    trainer(0).validate(task, datamodule=digits(), verbose=False)
    assert [getattr(block.drop_path1, "drop_prob", 0.0) for block in task.network.blocks] == pytest.approx([0, 0.4])


def test_drop_path_draws_the_same_again_for_the_same_micro_batch(vit: Path):
    def trained(drop_path: float) -> torch.Tensor:
        settings = {"pretrained": str(vit), "augmentation": PLAIN, "optimizer": SGD, "micro_batch_size": 3}
        return weights(fit(zoo.ImageClassification(drop_path=drop_path, **settings)))

    once = trained(0.5)
    assert torch.equal(once, trained(0.5))
    assert not torch.allclose(once, trained(0.0), atol=1e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is none")
def test_a_compiled_network_has_the_losses_of_an_eager_one(vit: Path):
    def losses(compile: bool) -> list[float]:
        task = zoo.ImageClassification(pretrained=str(vit), augmentation=PLAIN, optimizer=SGD, compile=compile)
        seen: list[float] = []
        watch = LambdaCallback(on_train_batch_end=lambda *_: seen.append(float(task.step_loss)))
        trainer(2, callbacks=[watch], limit_val_batches=0).fit(task, datamodule=digits())
        return seen

    assert losses(True) == pytest.approx(losses(False), rel=1e-5)


def test_an_image_is_varied_anew_at_every_step(monkeypatch: pytest.MonkeyPatch):
    seen: list[set[bytes]] = []
    plain = zoo.ImageClassification.logits

    def logits(self: Any, batch: Any) -> torch.Tensor:
        seen.append({image.numpy().tobytes() for image in batch["image"]})
        return plain(self, batch)

    monkeypatch.setattr(zoo.ImageClassification, "logits", logits)
    task = resnet(augmentation=Augmentation(scale=0.5, hflip=0), norm="frozen")
    trainer(3, limit_val_batches=0).fit(task, datamodule=digits(batch_size=40))
    assert [len(images) for images in seen] == [40] * 3
    assert max(len(seen[0] & seen[1]), len(seen[1] & seen[2])) < 20  # of so few pixels some crops are alike


# What is frozen stays, bit for bit ------------------------------------------------------------------------------


def test_a_frozen_backbone_keeps_its_weights_and_batch_statistics_bit_for_bit():
    start, end = fit(resnet(freeze="backbone"), 0), fit(resnet(freeze="backbone"), 5)
    changed = {n for n, t in end.network.state_dict().items() if not torch.equal(t, start.network.state_dict()[n])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_probe_that_is_loaded_again_has_the_backbone_that_it_was_trained_on(vit: Path, here: Path, zoo_command: Any):
    flags = ["--model=zoo.ImageClassification", f"--model.pretrained={vit}", "--model.freeze=backbone"]
    flags += ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1", "--data=zoo.ImageData"]
    flags += ["--data.train=python:sklearn.datasets.load_digits", "--data.limit=40", "--data.num_workers=0"]
    assert zoo_command("fit", *flags, "--trainer.accelerator=cpu", "--trainer.max_steps=2")[0] == 0
    measured = json.loads((here / "runs/run/1/metrics.json").read_text())["fit"]["metrics"]
    assert zoo_command("validate")[0] == 0
    again = json.loads((here / "runs/run/1/metrics.json").read_text())
    assert again["validation"]["metrics"]["loss"] == pytest.approx(measured["val/loss"], rel=1e-5)


def test_frozen_statistics_stay_while_the_weights_train():
    start, end = fit(resnet(norm="frozen"), 0), fit(resnet(norm="frozen"), 5)
    changed = {n for n, t in end.network.state_dict().items() if not torch.equal(t, start.network.state_dict()[n])}
    assert not any("running" in name or "tracked" in name for name in changed)
    assert "conv1.weight" in changed


# Batch statistics and law 1 -------------------------------------------------------------------------------------


def test_a_network_with_batch_statistics_is_never_cut_by_micro_batch_size(capsys: pytest.CaptureFixture[str]):
    whole, asked = fit(resnet()), fit(resnet(micro_batch_size=2))
    assert torch.equal(weights(whole), weights(asked))
    assert "micro_batch_size 2 is not used" in capsys.readouterr().out


def test_statistics_are_taken_over_exactly_norm_batch_size_samples(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    plain = zoo.ImageClassification.logits

    def logits(self: Any, batch: Any) -> torch.Tensor:
        seen.append(len(batch["image"]))
        return plain(self, batch)

    monkeypatch.setattr(zoo.ImageClassification, "logits", logits)
    trainer(2, limit_val_batches=0).fit(resnet(norm_batch_size=4), datamodule=digits(batch_size=10))
    assert seen == [4, 4, 2] * 2


@pytest.mark.assets
@pytest.mark.skipif("ZOO_ASSETS" not in os.environ, reason="ZOO_ASSETS names no folder with real weights")
def test_a_probe_of_real_weights_has_the_same_logits_in_plain_timm(tmp_path: Path):
    path = Path(os.environ["ZOO_ASSETS"]) / "efficientnet-lite0" / "model.safetensors"
    named = {"pretrained": "tf_efficientnet_lite0", "weights": str(path), "image_size": 32, "freeze": "backbone"}
    task = fit(zoo.ImageClassification(**named, augmentation=PLAIN, optimizer=SGD))
    task.save_model(tmp_path / "model")
    exported = str(tmp_path / "model" / "model.safetensors")
    again = timm.create_model("tf_efficientnet_lite0", num_classes=10, checkpoint_path=exported).eval()
    images = pictures(32)
    assert torch.allclose(again(task.normalise(images)), task.logits({"image": images}), atol=1e-4)
    untouched = timm.create_model("tf_efficientnet_lite0", checkpoint_path=str(path)).state_dict()
    moved = {n for n, t in again.state_dict().items() if not torch.equal(t, untouched[n])}
    assert moved == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("norm", ["frozen", "group"])
def test_without_batch_statistics_micro_batches_train_as_the_whole_batch_does(norm: classifiers.Norm):
    settings: dict[str, Any] = {"norm": norm, "optimizer": ADAMW if norm == "frozen" else SGD}
    architecture = {"architecture": {"name": "resnet18", "layers": [1, 1, 1, 1]}} if norm == "group" else {}
    whole = fit(resnet(**settings, **architecture), 1)
    pieces = fit(resnet(**settings, **architecture, micro_batch_size=3), 1)
    assert torch.allclose(weights(whole), weights(pieces), atol=2e-3 if norm == "frozen" else 1e-5)


def test_a_last_batch_of_one_image_is_refused_before_the_first_step():
    with pytest.raises(ConfigError, match="the last batch of 40 images has a single one"):
        fit(resnet(), batch_size=13)


# The optimizer's view -------------------------------------------------------------------------------------------


def test_layer_decay_gives_every_layer_the_rate_that_timm_gives_it(vit: Path):
    """Reference: timm.optim.param_groups_layer_decay."""
    from timm.optim import param_groups_layer_decay

    task = zoo.ImageClassification(pretrained=str(vit), layer_decay=0.5, augmentation=PLAIN, optimizer=SGD)
    trainer(0).validate(task, datamodule=digits(), verbose=False)
    net = task.network
    theirs = param_groups_layer_decay(net, 0.05, no_weight_decay_list=net.no_weight_decay(), layer_decay=0.5)
    expected = {id(p): (g["lr_scale"], g["weight_decay"] > 0) for g in theirs for p in g["params"]}
    groups = task.configure_optimizers().param_groups
    assert {id(p): (g["lr_scale"], g["weight_decay"] != 0) for g in groups for p in g["params"]} == {
        i: (scale, decays and any(g["weight_decay"] for g in groups)) for i, (scale, decays) in expected.items()
    }


def test_position_embeddings_do_not_decay(vit: Path):
    task = zoo.ImageClassification(pretrained=str(vit), augmentation=PLAIN, optimizer=ADAMW)
    trainer(0).validate(task, datamodule=digits(), verbose=False)
    assert task.parameter_settings("network.pos_embed", task.network.pos_embed) == {"weight_decay": 0.0}


# Evaluation -----------------------------------------------------------------------------------------------------


def test_the_mixed_loss_is_that_of_mixed_one_hot_targets(vit: Path):
    """Reference: torch's cross entropy with soft targets."""
    mixing = Augmentation(mixup=0.3, label_smoothing=0.1, scale=1)
    task = zoo.ImageClassification(pretrained=str(vit), augmentation=mixing, optimizer=SGD)
    trainer(0).validate(task, datamodule=digits(), verbose=False)
    batch = task.train().prepared(task.example_batch(6), "train")
    total, count = task.loss(batch)
    one_hot = torch.eye(10)
    share = batch["share"][:, None]
    soft = share * one_hot[batch["targets"]] + (1 - share) * one_hot[batch["other"]]
    expected = torch.nn.functional.cross_entropy(task.logits(batch), soft, label_smoothing=0.1)
    assert torch.allclose(total / count, expected, rtol=1e-5)


def test_a_loss_of_ones_own_is_validated_by_cross_entropy(vit: Path):
    class Tenth(zoo.ImageClassification):
        def loss(self, batch: dict[str, Any]) -> Any:
            total, count = super().loss(batch)
            return total / 10, count

    losses = []
    for kind in (zoo.ImageClassification, Tenth):
        task = kind(pretrained=str(vit), optimizer=SGD)
        trainer(0).validate(task, datamodule=digits(), verbose=False)
        losses.append(task.last_metrics["loss"])
    assert losses[0] == losses[1] > 0


def test_a_test_leaves_its_evidence(vit: Path, here: Path, zoo_command: Any):
    flags = ["--model=zoo.ImageClassification", f"--model.pretrained={vit}", "--model.optimizer=torch.optim.SGD"]
    flags += ["--model.optimizer.lr=0.1", "--data=zoo.ImageData", "--data.train=python:sklearn.datasets.load_digits"]
    flags += ["--data.limit=40", "--data.num_workers=0", "--trainer.accelerator=cpu", "--data.show=batch.png"]
    assert zoo_command("fit", *flags, "--trainer.max_steps=2")[0] == 0
    assert zoo_command("test")[0] == 0
    folder = here / "runs/run/1/test"
    assert {path.name for path in folder.iterdir()} == {"classes.csv", "confusion.csv", "confusion.png", "mistakes.png"}
    rows = (folder / "confusion.csv").read_text().splitlines()
    counts = np.array([[int(x) for x in row.split(",")[1:]] for row in rows[1:]])
    metrics = json.loads((here / "runs/run/1/metrics.json").read_text())["test"]["metrics"]
    assert counts.sum() == metrics["images"] == 179
    assert counts.trace() / counts.sum() == pytest.approx(metrics["accuracy"])
    for picture in (folder / "confusion.png", folder / "mistakes.png", here / "batch.png"):
        assert np.asarray(Image.open(picture).convert("L")).std() > 10  # something is drawn


def test_tensorboard_and_the_run_have_images_of_what_the_network_takes_for_what(here: Path, zoo_command: Any):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = ["--config=quickstart_vision", "--data.limit=64", "--data.batch_size=16", "--trainer.accelerator=cpu"]
    flags += [f"--trainer.{name}" for name in ("max_steps=12", "val_check_interval=2", "check_val_every_n_epoch=1")]
    code, said, _ = zoo_command("fit", *flags)
    assert code == 0
    assert "The run beat its baseline" in said or "The run did not beat its baseline" in said
    folder = here / "runs/quickstart_vision/1"
    with open(folder / "metrics.csv") as file:
        validated = [int(row["step"]) for row in csv.DictReader(file) if row["val/loss"]]
    drawn = [validated[i] for i in (0, 1, 3)]
    assert sorted(int(path.stem[5:]) for path in folder.glob("previews/step=*.png")) == drawn
    assert np.asarray(Image.open(folder / f"previews/step={drawn[-1]}.png").convert("L")).std() > 10
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert [event.step for event in events.Images("preview")] == drawn


class Sure(torch.nn.Module):
    """Takes every image for class 1, the surer the brighter it is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(images.mean((1, 2, 3))[:, None], (1, 0))


def test_a_preview_shows_the_most_confident_mistakes_first(monkeypatch: pytest.MonkeyPatch):
    from zoo.images import drawing

    shown: dict[str, Any] = {}

    def draw(images: Any, titles: Any) -> Any:
        shown.update(images=images, titles=titles)
        return original(images, titles)

    original = drawing.drawn_mosaic
    monkeypatch.setattr(drawing, "drawn_mosaic", draw)
    task = fit(resnet(), validation_fraction=0.3)
    monkeypatch.setattr(task, "logits", lambda batch: Sure()(batch["image"].float() / 9))
    task._previewed_at.clear()
    with torch.inference_mode():
        assert task.preview_image().width > 100
    is_wrong = ["\nas 1 (" in title for title in shown["titles"]]
    assert is_wrong == sorted(is_wrong, reverse=True)
    brightness = [float(image.float().mean()) for image, wrong in zip(shown["images"], is_wrong, strict=True) if wrong]
    assert len(brightness) > 1
    assert brightness == sorted(brightness, reverse=True)


def test_a_task_that_captions_nothing_shows_its_batches_all_the_same(vit: Path, here: Path):
    class Plain(zoo.ImageClassification):
        captions = zoo.Task.captions

    task = Plain(pretrained=str(vit), optimizer=SGD)
    source = "python:sklearn.datasets.load_digits"
    data = zoo.ImageData(train=source, limit=20, batch_size=8, num_workers=0, show="batch.png")
    trainer(0).fit(task, datamodule=data)
    batch = next(iter(data.train_dataloader()))
    assert task.captions(batch)[0] == f"targets {batch['targets'][0]}, index {batch['index'][0]}"
    assert Path("batch.png").is_file()


@pytest.mark.parametrize(("side", "seen", "is_told"), [(256, 32, True), (255, 32, False), (2000, 224, False)])
def test_images_of_which_the_network_sees_a_few_pixels_are_told(
    side: int, seen: int, is_told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for i, name in enumerate(["a", "b"] * 9):
        (tmp_path / name).mkdir(exist_ok=True)
        size = (side, side + 99) if i > 1 else (8, 8)  # the half of them decides
        Image.new("1", size).save(tmp_path / name / f"{i}.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    data = zoo.ImageData(train=str(tmp_path), max_broken=1, batch_size=6, num_workers=0)
    trainer(0).fit(resnet(image_size=seen), datamodule=data)
    said = capsys.readouterr().out
    assert ("Set a larger model.image_size, or let" in said) == is_told
    assert (f"the images are {side} pixels high or wide, but the network sees {seen} × {seen}" in said) == is_told
