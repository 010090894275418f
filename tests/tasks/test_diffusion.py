"""Diffusion against plain diffusers, and what is easily wrong in a generator without any error."""

import json
import re
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from contract_cases import ADAMW, UNET, trainer, weights
from lightning.pytorch import Callback
from PIL import Image

import zoo
from zoo import streams
from zoo.callbacks.previews import Previews
from zoo.callbacks.run_directory import RunDirectory
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.images.preprocessing import Normalise, as_grey, as_uint8
from zoo.loop import checkpoint
from zoo.models.samplers import ImageSampling
from zoo.samples import INDEX

DIT = {"name": "DiTTransformer2DModel", "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 1,
       "num_layers": 1, "norm_elementwise_affine": False}  # fmt: skip


def digits(**kwargs: Any) -> zoo.ImageData:
    sizes = {"limit": 40, "validation_fraction": 0.02, "batch_size": 8, "eval_batch_size": 16, "num_workers": 0}
    return zoo.ImageData(**{"train": "python:sklearn.datasets.load_digits", **sizes, **kwargs})


def unet(**kwargs: Any) -> zoo.Diffusion:
    settings = {"architecture": UNET, "image_size": 8, "sampling": ImageSampling(steps=3), "optimizer": ADAMW}
    return zoo.Diffusion(**{**settings, **kwargs})


def fit(task: zoo.Diffusion, steps: int = 3, *callbacks: Callback, **data: Any) -> zoo.Diffusion:
    trainer(steps, callbacks=[*callbacks], limit_val_batches=0).fit(task, datamodule=digits(**data))
    return task.eval()


@pytest.fixture(scope="module")
def trained() -> zoo.Diffusion:
    return fit(unet())


# Images in and out ------------------------------------------------------------------------------------------------


def test_images_come_out_as_they_went_in(trained: zoo.Diffusion):
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(-1, 3, -1, -1)
    seen = Normalise(trained.preprocessing)(values)
    assert (seen.min(), seen.max()) == (-1, 1)
    assert torch.equal(as_uint8(seen), values)
    assert torch.equal(as_uint8(seen[:, :1]), values)


def test_what_is_beyond_black_and_white_is_clamped():
    assert as_uint8(torch.tensor([-3.0, 1.5]).view(1, 1, 1, 2)).flatten().tolist() == [0, 255] * 3


def test_a_grey_image_is_as_pillow_makes_it():
    colours = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    by_pillow = np.asarray(Image.fromarray(colours[0].permute(1, 2, 0).numpy()).convert("L")).astype(int)
    assert np.abs(as_grey(colours)[0, 0].numpy().astype(int) - by_pillow).max() <= 1
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(-1, 3, -1, -1)
    assert torch.equal(as_grey(grey), grey)


# What is drawn ----------------------------------------------------------------------------------------------------


def batch_of(task: zoo.Diffusion, index: list[int], split: Any, step: int = 0) -> dict[str, Any]:
    examples = task.example_batch(10)
    some = {name: examples[name][torch.tensor(index) % 10] for name in ("image", "targets")}
    return task.prepared({**some, INDEX: index}, split, step)


def test_evaluation_draws_the_same_noise_and_time_for_an_image_in_whatever_batch_it_is(trained: zoo.Diffusion):
    together, alone = (batch_of(trained, index, "validation") for index in ([3, 5, 8], [5]))
    again = batch_of(trained, [3, 5, 8], "validation", step=7)
    for name in ("noise", "time", "targets"):
        assert torch.equal(together[name][1:2], alone[name])
        assert torch.equal(together[name], again[name])


def test_training_draws_anew_at_every_step_and_for_every_image(trained: zoo.Diffusion):
    first, second = (batch_of(trained, [4, 4, 6], "train", step) for step in (1, 2))
    for name in ("noise", "time"):
        assert torch.equal(first[name][0], first[name][1])
        assert not torch.equal(first[name][0], first[name][2])
        assert not torch.equal(first[name], second[name])


def test_noise_is_standard_normal_and_differs_between_validation_and_training(trained: zoo.Diffusion):
    drawn = batch_of(trained, list(range(200)), "validation")["noise"]
    assert drawn.mean().item() == pytest.approx(0, abs=0.05)
    assert drawn.std().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(drawn[:3], batch_of(trained, [0, 1, 2], "train")["noise"])


def test_the_class_is_withheld_from_a_tenth_of_the_images_in_training_only(trained: zoo.Diffusion):
    index = list(range(2000))
    labels = batch_of(trained, index, "train")["targets"]
    assert (labels == 10).float().mean().item() == pytest.approx(0.1, abs=0.03)
    kept = labels != 10
    assert torch.equal(labels[kept], (torch.tensor(index) % 10)[kept])
    assert not (batch_of(trained, index, "validation")["targets"] == 10).any()


def test_an_image_without_a_class_counts_as_one_whose_class_is_withheld(trained: zoo.Diffusion):
    batch = trained.prepared({**trained.example_batch(2), "targets": torch.tensor([-1, 4])}, "validation")
    assert batch["targets"].tolist() == [10, 4]


# The loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prediction", "theirs"), [("epsilon", "epsilon"), ("v", "v_prediction"), ("x0", "sample")])
def test_the_loss_is_what_diffusers_own_scheduler_and_network_give(prediction: Any, theirs: str):
    task = fit(unet(prediction=prediction), 1)
    batch = batch_of(task, [0, 3, 7], "validation")
    total, count = task.loss(batch)
    scheduler = diffusers.DDPMScheduler(prediction_type=theirs)
    image = as_grey(batch["image"])[:, :1].float() / 127.5 - 1
    times = (1000 * batch["time"]).long()
    noisy = scheduler.add_noise(image, batch["noise"], times)
    wanted = {"epsilon": batch["noise"], "x0": image, "v": scheduler.get_velocity(image, batch["noise"], times)}
    said = task.network(noisy, times, class_labels=batch["targets"]).sample
    assert count == 3
    expected = torch.nn.functional.mse_loss(said, wanted[prediction])
    assert (total / count).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_loss_of_a_flow_is_that_of_the_velocity_along_a_line(trained: zoo.Diffusion):
    batch = batch_of(trained, [0, 3, 7], "validation")
    total, count = trained.loss(batch)
    image, t = as_grey(batch["image"])[:, :1].float() / 127.5 - 1, batch["time"].view(-1, 1, 1, 1)
    said = trained.network((1 - t) * image + t * batch["noise"], 1000 * batch["time"], batch["targets"]).sample
    expected = torch.nn.functional.mse_loss(said, batch["noise"] - image)
    assert (total / count).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_is_computed_in_32_bits_where_the_network_computes_in_16(trained: zoo.Diffusion):
    batch = batch_of(trained, [0, 3, 7], "validation")
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = trained.loss(batch)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(trained.loss(batch)[0].item(), rel=0.05)


# Sampling ---------------------------------------------------------------------------------------------------------


def same(one: list[Any], other: list[Any], tolerance: int = 0) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max() <= tolerance for a, b in pairs)


def test_a_seed_gives_the_same_images_however_many_are_made(trained: zoo.Diffusion):
    four = trained.predict(count=4, label="7", seed=1)
    assert [image.size for image in four] == [(8, 8)] * 4
    assert same(trained.predict(count=2, label="7", seed=1), four[:2], 1)
    assert not same(trained.predict(count=4, label="7", seed=2), four, 50)
    assert not same(four[:1], four[1:2], 50)


def test_classes_are_made_in_turn_or_as_they_are_named(trained: zoo.Diffusion):
    assert same(trained.predict(count=3, seed=1), trained.predict(["0", "1", "2"], seed=1))
    assert not same(trained.predict(["0"]), trained.predict(["1"]))


def test_sampling_draws_nothing_from_the_global_state_and_has_no_dropout():
    task = fit(unet(dropout=0.5, sampling=ImageSampling(sampler={"name": "DDPMScheduler"}), prediction="v"), 1).train()
    before = torch.get_rng_state()
    assert same(task.predict(count=2), task.predict(count=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert task.training


def test_guidance_doubles_the_batch_and_changes_the_images(trained: zoo.Diffusion):
    sizes = []
    hook = trained.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    plain, guided = trained.predict(count=2), trained.predict(count=2, guidance=3.0)
    hook.remove()
    assert sizes == [2] * 3 + [4] * 3
    assert not same(plain, guided)
    assert trained.sampling.guidance == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label_dropout": 0.0}, "model.label_dropout is 0"),
        ({"class_conditional": False}, "the network is told no classes"),
    ],
)
def test_guidance_needs_a_network_that_was_trained_without_classes_too(settings: Any, said: str):
    with pytest.raises(ConfigError, match=said):
        fit(unet(sampling=ImageSampling(guidance=2.0), **settings))


def test_a_class_that_is_not_known_is_named(trained: zoo.Diffusion):
    with pytest.raises(ConfigError, match="no class is called 'cat': its classes are '0', '1'"):
        trained.predict(count=1, label="cat")


def test_images_without_classes_make_a_network_that_is_told_none(here: Path):
    (here / "flat").mkdir()
    for i in range(12):
        Image.new("RGB", (9, 7), (20 * i, 0, 0)).save(here / "flat" / f"{i}.png")
    task = unet(architecture={**UNET, "in_channels": 3, "out_channels": 3})
    trainer(2).fit(task, datamodule=digits(train="flat", limit=None, validation_fraction=0.2))
    assert task.label_names == []
    assert task.network.class_embedding is None
    assert [image.mode for image in task.predict(count=2)] == ["RGB"] * 2


# Averages, previews -----------------------------------------------------------------------------------------------


class Looks(Callback):
    """What is previewed after each validation."""

    def __init__(self) -> None:
        self.images: list[Image.Image] = []
        self.weights: list[torch.Tensor] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.weights.append(weights(pl_module))
        self.images.append(pl_module.preview_image())


def test_previews_and_exports_show_the_average_and_training_goes_on_with_the_raw_weights(tmp_path: Path):
    looks, ema, task = Looks(), zoo.EMA(decay=0.9), unet()
    t = trainer(5, folder=tmp_path, callbacks=[looks, ema], val_check_interval=5, check_val_every_n_epoch=None)
    t.fit(task, datamodule=digits())
    saved = checkpoint.read(tmp_path / "step=5.ckpt")
    names = [name for name, _ in task.named_parameters()]
    averages = torch.cat([saved["averaged"][name].flatten() for name in names])
    raw = torch.cat([saved["state_dict"][name].flatten() for name in names])
    assert torch.equal(looks.weights[0], averages)
    assert torch.equal(weights(task), raw)
    assert not torch.equal(averages, raw)
    task.load_trained(saved)
    task.save_model(tmp_path)
    exported = diffusers.UNet2DModel.from_pretrained(tmp_path, subfolder="unet")
    assert torch.equal(torch.cat([p.flatten() for p in exported.parameters()]), averages)


def test_the_average_of_a_short_run_is_not_the_noise_that_it_began_with():
    ema, task = zoo.EMA(decay=0.9999), unet()
    start = weights(fit(unet(), 1))
    trainer(30, callbacks=[ema], limit_val_batches=0).fit(task, datamodule=digits())
    averages = torch.cat([ema.averaged[name].flatten() for name, _ in task.named_parameters()])
    assert (averages - start).norm() > 0.3 * (weights(task) - start).norm()


def with_previews(folder: Path, *callbacks: Callback) -> zoo.Diffusion:
    task, directory = unet(dropout=0.3), RunDirectory("run", lambda: "", folder)
    shows = Previews(directory) if folder.exists() else Callback()
    settings = {"val_check_interval": 2, "check_val_every_n_epoch": None}
    trainer(6, callbacks=[shows, *callbacks], **settings).fit(task, datamodule=digits())
    return task


def test_previews_do_not_touch_the_training(tmp_path: Path):
    assert torch.equal(weights(with_previews(tmp_path)), weights(with_previews(tmp_path / "none")))
    assert (tmp_path / "previews" / "step=6.png").is_file()


def test_previews_that_cannot_be_written_are_named_and_the_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "previews").write_text("a file where the folder would be")
    assert with_previews(tmp_path).global_step == 6
    assert "step=2.png is not written" in capsys.readouterr().err


def test_previews_are_of_the_same_noise_every_time_and_end_in_a_strip_and_an_animation(tmp_path: Path):
    with_previews(tmp_path, zoo.EMA())
    names = sorted(path.name for path in (tmp_path / "previews").iterdir())
    shown = [f"{kind}step={step}.png" for kind in ("raw_and_average_", "") for step in (2, 4, 6)]
    assert names == ["animation.webp", *shown, "strip.png"]
    averaged = Image.open(tmp_path / "previews" / "step=6.png")
    both = Image.open(tmp_path / "previews" / "raw_and_average_step=6.png")
    with averaged as one, both as two:
        assert two.size == (2 * one.width + 16, one.height)
        assert two.crop((one.width + 16, 0, *two.size)).tobytes() == one.tobytes()
        assert two.crop((0, 0, *one.size)).tobytes() != one.tobytes()


# Plain diffusers --------------------------------------------------------------------------------------------------


def generators(count: int, seed: int) -> list[torch.Generator]:
    """What zoo draws the noise of predictions from."""
    return [streams.generator(seed, "predict", i, "noise") for i in range(count)]


@pytest.mark.parametrize("sampler", ["FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_network_without_classes_makes_the_same_images_in_the_stock_pipeline(sampler: str, tmp_path: Path):
    sampling = ImageSampling(steps=5, sampler={"name": sampler})
    task = fit(unet(class_conditional=False, sampling=sampling))
    task.save_model(tmp_path)
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(batch_size=3, num_inference_steps=5, generator=generators(3, 1), output_type="np").images
    ours = [np.asarray(image)[..., :1] for image in task.predict(count=3, seed=1)]
    assert same(ours, list((255 * theirs).round()), 1)


@pytest.mark.parametrize("architecture", [UNET, DIT], ids=["unet", "dit"])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_network_with_classes_makes_the_same_images_in_diffusers_with_the_file_beside_it(
    architecture: Any, guidance: float, tmp_path: Path
):
    task = fit(unet(architecture=architecture))
    task.save_model(tmp_path)
    with pytest.raises(ValueError, match="trust_remote_code"):
        diffusers.DiffusionPipeline.from_pretrained(str(tmp_path))
    pipeline = diffusers.DiffusionPipeline.from_pretrained(str(tmp_path), trust_remote_code=True)
    labels = ["3", "9", "0"]
    theirs = pipeline(labels, guidance, num_inference_steps=3, generator=generators(3, 1)).images
    assert same([image.convert("RGB") for image in theirs], task.predict(labels, seed=1, guidance=guidance), 1)


@pytest.mark.parametrize("architecture", [UNET, DIT], ids=["unet", "dit"])
def test_the_lines_of_the_model_card_make_the_same_images_without_that_file(
    architecture: Any, here: Path, monkeypatch: pytest.MonkeyPatch
):
    task = fit(unet(architecture=architecture))
    (here / "model").mkdir()
    task.save_model(here / "model")
    (here / "model" / "pipeline.py").unlink()
    _, lines = re.findall("```python\n(.*?)```", (here / "model" / "README.md").read_text(), re.DOTALL)
    drawn = torch.stack([torch.randn(1, 8, 8, generator=generator) for generator in generators(4, 1)])
    monkeypatch.setattr(torch, "randn", lambda *shape: drawn if shape == (4, 1, 8, 8) else None)
    names: dict[str, Any] = {}
    exec(lines, names)
    monkeypatch.undo()
    theirs = list((255 * names["images"]).round().permute(0, 2, 3, 1).numpy())
    assert same([np.asarray(image)[..., :1] for image in task.predict(count=4, seed=1)], theirs, 1)


def test_training_starts_from_a_network_of_diffusers(tmp_path: Path):
    first = fit(unet(class_conditional=False))
    first.save_model(tmp_path)
    task = unet(architecture=None, pretrained=str(tmp_path), class_conditional=False)
    task.setup_from_data([])
    task.configure_model()
    assert torch.equal(weights(task), weights(first))


def test_an_exported_network_knows_its_classes_and_what_it_says(trained: zoo.Diffusion, tmp_path: Path):
    trained.save_model(tmp_path)
    task = unet(architecture=None, pretrained=str(tmp_path))
    task.configure_model()
    assert same(task.predict(["3"]), trained.predict(["3"]))
    with pytest.raises(ConfigError, match="was trained to say flow. Set model.prediction flow"):
        unet(architecture=None, pretrained=str(tmp_path), prediction="v").configure_model()


def test_a_network_of_diffusers_makes_images_without_any_training(tmp_path: Path):
    first = fit(unet(class_conditional=False))
    first.save_model(tmp_path)
    task = unet(architecture=None, pretrained=str(tmp_path), class_conditional=False)
    task.configure_model()
    assert same(task.predict(count=2, seed=3), first.predict(count=2, seed=3))


# The command line -------------------------------------------------------------------------------------------------


def test_predict_writes_images_a_grid_and_how_they_were_made(here: Path, zoo_command: Any):
    flags = ["--model=zoo.Diffusion", f"--model.architecture={json.dumps(UNET)}", "--model.image_size=8",
             "--model.optimizer=torch.optim.AdamW", "--data=zoo.ImageData", "--data.num_workers=0",
             "--data.train=python:sklearn.datasets.load_digits", "--data.limit=40", "--trainer.max_steps=2",
             "--trainer.accelerator=cpu", "--name=digits"]  # fmt: skip
    code, said, complaint = zoo_command("fit", *flags)
    assert (code, complaint) == (0, "")
    assert "zoo predict --count 16" in said
    assert "trust_remote_code=True" in said
    asked = ["--count=3", "--label=7", "--guidance=2", "--steps=4", "--seed=5"]
    code, said, complaint = zoo_command("predict", *asked)
    assert (code, complaint) == (0, "")
    folder = Path("runs/digits/1")
    names = sorted(path.name for path in (folder / "predictions").iterdir())
    assert names == ["00000_7.png", "00001_7.png", "00002_7.png", "grid.png"]
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert rows[2] == {
        "path": "runs/digits/1/predictions/00002_7.png", "label": "7", "number": 2, "seed": 5,
        "sampler": "FlowMatchEulerDiscreteScheduler", "steps": 4, "guidance": 2.0,
    }  # fmt: skip
    again = zoo.load(folder).predict(count=3, label="7", guidance=2.0, steps=4, seed=5)
    with Image.open(rows[2]["path"]) as written:
        assert same([written], again[2:], 1)
    assert zoo_command("predict", "--count=1")[0] == 0
    assert sorted(path.name for path in (folder / "predictions").iterdir()) == ["00000_0.png", "grid.png"]
    kept = [json.loads(line) for line in (folder / "predictions.1.jsonl").read_text().splitlines()]
    with Image.open(kept[2]["path"]) as written:
        assert same([written], again[2:], 1)
    code, _, complaint = zoo_command("predict", "--label=cat")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "no class is called 'cat'" in complaint
    code, _, complaint = zoo_command("predict", "--guidance=two")
    assert (code, complaint.count("\n")) == (2, 1)


# Metrics ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a classifier of digits, trained for a few steps."""
    from zoo.__main__ import main

    folder = tmp_path_factory.mktemp("judge")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sizes = {"name": "vit_tiny_patch16_224", "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
        code = main(["fit", "--model=zoo.ImageClassification", f"--model.architecture={json.dumps(sizes)}",
                     "--model.image_size=16", "--model.optimizer=torch.optim.AdamW", "--data=zoo.ImageData",
                     "--data.train=python:sklearn.datasets.load_digits", "--data.num_workers=0", "--data.limit=100",
                     "--trainer.max_steps=3", "--trainer.accelerator=cpu", "--name=judge"])  # fmt: skip
    assert code == 0
    return folder / "runs" / "judge" / "1"


def measured(task: zoo.Diffusion, tmp_path: Path, **data: Any) -> dict[str, float]:
    trainer(0).test(fit(task, 1), datamodule=digits(**data), verbose=False)
    [nearest] = task.write_test_report(tmp_path)
    with Image.open(nearest) as image:
        assert image.size == (5 * 50 - 2, 8 * 50 - 2)
    return task.last_metrics


def test_with_a_judge_a_test_has_distances_accuracy_and_diversity_beside_those_of_the_test_data(
    judge: Path, tmp_path: Path
):
    task = unet(judge=str(judge), test_samples=20)
    metrics = measured(task, tmp_path)
    pairs = {"fid", "kid", "accuracy_by_judge", "diversity"}
    assert metrics.keys() == {"loss", "images", *pairs} | {"fid_of_test_data", "kid_of_test_data",
                              "accuracy_of_test_data", "diversity_of_test_data"}  # fmt: skip
    assert 0 <= metrics["accuracy_by_judge"] <= 1
    settings = task.eval_settings("test")
    assert settings["samples"] == 20
    assert settings["reference"] == "train (40 images)"
    assert (settings["steps"], settings["guidance"], settings["seed"]) == (3, 1.0, 0)
    assert settings["features"] == str(judge)


def test_where_samples_are_the_training_images_their_distance_is_that_of_a_copy(
    judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No distance, the judge's own accuracy, and each nearest to itself."""
    task = unet(judge=str(judge), test_samples=40)
    images: list[Any] = []

    def made(self: Any, wanted: list[str]) -> torch.Tensor:
        batches = [*self._real("train")]
        found, labels = (torch.cat([b[k] for b in batches]) for k in ("image", "targets"))
        order = torch.cat([(labels == int(name)).nonzero().flatten()[i // 10 : i // 10 + 1] for i, name in
                           enumerate(wanted)])  # fmt: skip
        images.append(found[order])
        return found[order]

    monkeypatch.setattr(zoo.Diffusion, "made", made)
    metrics = measured(task, tmp_path)
    assert metrics["fid"] == pytest.approx(0, abs=1e-2)
    assert metrics["fid"] < metrics["fid_of_test_data"]
    assert torch.equal(task._test["examples"].view(8, 4, 3, 8, 8)[:, 0], images[0][:8])


def test_without_a_feature_network_a_test_says_what_is_missing_and_still_shows_what_is_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    metrics = measured(unet(), tmp_path)
    assert metrics.keys() == {"loss", "images"}
    assert "FID and KID need a feature network: model.judge" in capsys.readouterr().out


class Inception(torch.nn.Module):
    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert images.dtype == torch.uint8
        pooled = images.float().mean((2, 3))
        return torch.cat([pooled, pooled**2], 1) if return_features else pooled[:, :1]


def test_a_torchscript_file_is_asked_for_its_features(tmp_path: Path):
    path = tmp_path / "inception.pt"
    torch.jit.script(Inception()).save(path)
    task = unet(inception=str(path), test_samples=10)
    metrics = measured(task, tmp_path)
    assert metrics.keys() == {"loss", "images", "fid", "kid", "fid_of_test_data", "kid_of_test_data"}
    assert task.eval_settings("test")["features"] == "inception.pt"


def test_a_feature_network_that_cannot_be_used_is_named(judge: Path, tmp_path: Path):
    for settings, kind, said in (
        ({"judge": "nowhere"}, MissingInputError, "nowhere"),
        ({"inception": "nowhere.pt"}, MissingInputError, "no such file"),
        ({"inception": str(judge / "config.yaml")}, DataError, "no TorchScript file"),
    ):
        with pytest.raises(kind, match=said):
            trainer(0).test(fit(unet(**settings), 1), datamodule=digits(), verbose=False)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    other = unet(judge=str(judge))
    data = {"train": str(tmp_path), "limit": None, "validation_fraction": 0.2}
    trainer(1).fit(other, datamodule=digits(**data))
    with pytest.raises(ConfigError, match="and this model 'a', 'b'"):
        trainer(0).test(other, datamodule=digits(**data), verbose=False)
