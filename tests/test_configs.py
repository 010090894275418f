"""Every YAML in configs/ runs as it is, but for the number of steps."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from conftest import TEXT, save_tiny
from contract_cases import TINY_WAV2VEC2, recordings, tiny_bert, tiny_vit, tiny_whisper
from hub_cache import put_dataset, put_model, put_rows
from PIL import Image
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

CONFIGS = Path(__file__).parent.parent / "configs"
EXPERIMENTS = sorted(CONFIGS.glob("*.yaml"))
OVERLAYS = sorted((CONFIGS / "overlays").glob("*.yaml"))
TINY = {
    "gpt2": {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 1024},
    "HuggingFaceTB/SmolLM2-360M": {
        "model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "hidden_size": 16, "intermediate_size": 32,
    },
}  # fmt: skip
TINY["HuggingFaceTB/SmolLM2-135M-Instruct"] = TINY["HuggingFaceTB/SmolLM2-360M"]
TINY["HuggingFaceTB/SmolLM2-1.7B-Instruct"] = TINY["HuggingFaceTB/SmolLM2-360M"]
CHATS = [
    [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"A number: {i}."}]
    for i in range(30)
]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
SMALLER = {"gpt2_scratch": [f"--model.architecture.{k}={v}" for k, v in TINY["gpt2"].items()]}
SHORT = ["--trainer.max_steps=2", "--trainer.limit_val_batches=1", "--trainer.accelerator=cpu"]


@pytest.fixture(scope="module", autouse=True)
def hub() -> None:
    for name, architecture in TINY.items():
        put_model(name, lambda folder, architecture=architecture: save_tiny(folder, architecture, TEMPLATE))
    put_model("distilbert/distilbert-base-uncased", lambda folder: tiny_bert(folder, [TEXT], ("a", "b"), 512))
    put_model("openai/whisper-small.en", tiny_whisper)
    put_model("openai/whisper-small", lambda folder: tiny_whisper(folder, multilingual=True))
    put_model("facebook/wav2vec2-xls-r-300m", tiny_wav2vec2)
    put_datasets()


def tiny_wav2vec2(folder: Path) -> None:
    """As it is published: without a head and a tokenizer."""
    Wav2Vec2Model(Wav2Vec2Config(**TINY_WAV2VEC2)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)


def put_datasets() -> None:
    rows = [f"{line} \n" for line in TEXT.splitlines()]
    put_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", {"train": rows, "validation": rows[:99], "test": rows[99:]})
    message = {"role": datasets.Value("string"), "content": datasets.Value("string")}
    splits = {"train": [{"messages": chat} for chat in CHATS], "test": [{"messages": chat} for chat in CHATS[:9]]}
    features = datasets.Features({"messages": datasets.List(message)})
    put_rows("HuggingFaceTB/smoltalk", "everyday-conversations", splits, features)
    classes = datasets.ClassLabel(names=["neg", "pos"])
    reviews = [{"text": line, "label": i % 2} for i, line in enumerate(TEXT.splitlines())]
    features = datasets.Features({"text": datasets.Value("string"), "label": classes})
    put_rows("stanfordnlp/imdb", "plain_text", {"train": reviews, "test": reviews[:9]}, features)


@pytest.fixture
def smaller(tmp_path: Path) -> dict[str, list[str]]:
    """Flags that put something small in the place of what a config names."""
    for name, colour in {"rust": (180, 90, 20), "healthy": (20, 160, 40)}.items():
        for i in range(5):
            (tmp_path / "leaves" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), colour).save(tmp_path / "leaves" / name / f"{i}.jpg")
    images = [
        "--trainer.max_epochs=2",
        "--trainer.check_val_every_n_epoch=2",
        "--data.num_workers=0",
        f"--data.train={tmp_path / 'leaves'}",
        "--model.image_size=32",
    ]
    vit = [f"--model.pretrained={tiny_vit(tmp_path / 'vit')}", *images]
    few = [*images, "--model.sampling.steps=2", "--model.image_size=16"]
    unet = [*few, "--model.architecture.block_out_channels=[32,32,32,32]"]
    short = ("fashion_mnist_short", "cifar10_short")
    resnets = ("resnet_scratch", "fashion_mnist_resnet18", "cifar10_resnet18", *short)
    speech = [f"--data.train={recordings(tmp_path / 'recordings')}", "--data.num_workers=0"]
    speech += ["--data.group_column=null", "--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=1"]
    whispers = [*speech, "--model.max_tokens=40"]  # as many as the tiny one has positions for
    return (
        SMALLER
        | dict.fromkeys(("quickstart_speech", "digits_speech", "wav2vec2_finetune"), speech)
        | dict.fromkeys(("whisper_finetune", "whisper_hindi"), whispers)
        | dict.fromkeys(("vit_finetune", "cifar10_probe", "cifar10_finetune"), vit)
        | dict.fromkeys(resnets, images)
        | dict.fromkeys(("fashion_mnist_diffusion", "dit_fashion_mnist"), few)
        | dict.fromkeys(("cifar10_diffusion", "diffusion_64"), unet)
    )


@pytest.mark.parametrize("config", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_config_trains_and_exports(config: Path, here: Path, zoo_command: Any, smaller: dict[str, list[str]]):
    code, said, complaint = zoo_command("fit", "--config", config, *SHORT, *smaller.get(config.stem, []))
    assert (code, complaint) == (0, "")
    assert f"run: runs/{config.stem}/1" in said
    run = here / "runs" / config.stem / "1"
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == 2
    assert json.loads((run / "metrics.json").read_text())["fit"]["eval_settings"]["step"] in (1, 2)  # the best
    assert [*(run / "model").rglob("*.safetensors")]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_the_overlay_goes_on_top_of_a_config(overlay: Path, here: Path, zoo_command: Any):
    configs = ["--config", CONFIGS / "gpt2_finetune.yaml", "--config", overlay]
    code, said, _ = zoo_command("fit", *configs, "--print_config")
    assert code == 0
    merged = yaml.safe_load(said)
    for section, settings in yaml.safe_load(overlay.read_text()).items():
        assert section in merged
        assert all(value for value in [merged[section].get(key.rstrip("+")) for key in settings] if value is not None)


def test_the_zero_shot_baseline_follows_the_published_protocol(here: Path, zoo_command: Any):
    configs = [CONFIGS / "gpt2_finetune.yaml", CONFIGS / "overlays" / "wikitext2_protocol.yaml"]
    code, _said, _ = zoo_command("test", *(f"--config={config}" for config in configs), "--trainer.accelerator=cpu")
    assert code == 0
    measured = json.loads((here / "runs/gpt2_finetune/pretrained/metrics.json").read_text())["test"]
    assert (
        measured["eval_settings"] | {"max_length": 1024, "stride": 1024, "weights": "pretrained"}
        == measured["eval_settings"]
    )
    assert "1 documents" in measured["eval_settings"]["data"]
