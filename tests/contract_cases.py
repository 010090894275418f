"""Every task and its data, small enough to train in a test. The contract tests run for each of them.

A new task joins by a function here that is called as its file is.
"""

import csv
import json
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import timm
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from PIL import Image
from timm.models import save_for_hf

import zoo
from zoo.audio import augment as audio
from zoo.callbacks.checkpoints import Checkpoints
from zoo.images.augment import Augmentation
from zoo.models import pretrained as hf
from zoo.models import text_classifiers, whisper
from zoo.models.adapters import Lora
from zoo.samples import SpeechSample
from zoo.tokens.sampling import Sampling

ADAMW = partial(torch.optim.AdamW, lr=1e-2)
SGD = partial(torch.optim.SGD, lr=0.5)
"""For comparisons: Adam divides gradients by their size, and so blows up the rounding of those that are zero (a key's
bias has no influence on softmax)."""


@dataclass(frozen=True, eq=False)
class Case:
    """A task with its data, small enough to train in a test.

    Args:
        task_class: the task.
        settings: its arguments, beside the optimizer.
        data_class: the data module.
        data_settings: its arguments. Batches of 7, which no even number divides, and 9 in evaluation.
        prediction: flags of a prediction.
        inputs: three to predict from.
        exact: settings with which a prediction draws nothing at random.
        calm: settings under which an image or text is the same at every step.
    """

    task_class: type[zoo.Task]
    settings: dict[str, Any]
    data_class: type[zoo.DataModule]
    data_settings: dict[str, Any]
    prediction: list[str]
    inputs: list[Any] = field(default_factory=list)
    exact: dict[str, Any] = field(default_factory=dict)
    calm: dict[str, Any] = field(default_factory=dict)

    def task(self, **settings: Any) -> zoo.Task:
        return self.task_class(**{"optimizer": ADAMW, **self.settings, **settings})

    def data(self, **settings: Any) -> zoo.DataModule:
        return self.data_class(**{"batch_size": 7, "eval_batch_size": 9, **self.data_settings, **settings})

    def subclassed(self, **members: Any) -> "Case":
        """The same with another task, which inherits from this one's."""
        return replace(self, task_class=type("Subclass", (self.task_class,), members))

    @property
    def flags(self) -> list[str]:
        """The same pair for the command line."""
        model = {**self.settings, "optimizer": "torch.optim.AdamW", "optimizer.lr": ADAMW.keywords["lr"]}
        data = {"batch_size": 7, "eval_batch_size": 9, **self.data_settings}
        classes = [f"--model=zoo.{self.task_class.__name__}", f"--data=zoo.{self.data_class.__name__}"]
        return classes + [
            f"--{section}.{name}={_flag(value)}"
            for section, settings in (("model", model), ("data", data))
            for name, value in settings.items()
        ]


def _flag(value: Any) -> str:
    plain = asdict(value) if is_dataclass(value) else value
    return json.dumps(plain) if isinstance(plain, dict) else str(plain)


UNET = {
    "name": "UNet2DModel", "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 4,
    "block_out_channels": [8, 16], "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
"""A small UNet for grey images. No attention on the way down, whose output is laid out channels last: on a CPU the
group norm of torch 2.13 dies on such images where no gradient of them is asked for, as behind frozen layers."""


def diffusion(model: Path, text: Path) -> Case:
    """A small UNet that says the image, as a few steps show that it learns; with classes, some of them withheld."""
    from zoo.models import denoisers, exported_pipelines, samplers  # seconds, which other tests need not wait for

    folder, names = text.with_name("tiny-unet"), [str(i) for i in range(10)]
    torch.manual_seed(0)
    exported_pipelines.save(
        denoisers.find(UNET).build(10, 8, 0.0), samplers.make(None, "x0", "linear"), names, 4, folder
    )
    data = {"train": "python:sklearn.datasets.load_digits", "limit": 37, "validation_fraction": 0.02, "num_workers": 0}
    return Case(
        task_class=zoo.Diffusion,
        settings={"pretrained": str(folder), "prediction": "x0", "sampling": samplers.ImageSampling(steps=4)},
        data_class=zoo.ImageData,
        data_settings=data,
        prediction=["--count", "1"],
        inputs=["1", "2", "3"],
        calm={"hflip": 0.0},
    )


def causal_lm(model: Path, text: Path) -> Case:
    """Lines of various lengths, so that some windows hold one segment and some several."""
    return Case(
        task_class=zoo.CausalLM,
        settings={"pretrained": str(model), "max_length": 16},
        data_class=zoo.TextData,
        data_settings={"train": str(text), "documents": "lines", "validation_fraction": 0.4},
        prediction=["--prompt", "The 3th fox"],
        inputs=["The 3th fox", "The", "and then sleeps for"],
        exact={"sampling": Sampling(temperature=0, max_new_tokens=8)},
    )


def causal_lm__lora(model: Path, text: Path) -> Case:
    """Adapters beside frozen weights, scaled so that they learn as fast as the whole network would.

    A frozen head of random weights fits nothing, so it is trained too where that is asked for.
    """
    folder = text.with_name("untied")
    config = hf.load_config(str(model))
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    hf.build_causal_lm(config).save_pretrained(folder)
    hf.load_tokenizer(str(model)).save_pretrained(folder)
    case = causal_lm(folder, text)
    return replace(
        case,
        settings={**case.settings, "lora": Lora(rank=4, alpha=32)},
        calm={"lora": Lora(rank=16, modules_to_save=["lm_head"])},
    )


def tiny_vit(folder: Path) -> Path:
    """A ViT of two layers of 16 with random weights for ten digits of 8 × 8, as a folder of timm."""
    sizes = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", **sizes)
    names = {"label_names": [str(i) for i in range(10)]}
    save_for_hf(network, str(folder), names, safe_serialization=True, data_config={"input_size": (3, 8, 8)})
    return folder


def image_classification(model: Path, text: Path) -> Case:
    """A small ViT, as batch statistics would couple the samples of a batch; with augmentation and both ways to mix."""
    augmentation = {
        "scale": 0.5,
        "policy": "randaugment",
        "random_erasing": 0.5,
        "mixup": 0.2,
        "cutmix": 0.5,
        "label_smoothing": 0.1,
    }
    data = {"train": "python:sklearn.datasets.load_digits", "limit": 37, "validation_fraction": 0.02, "num_workers": 0}
    image = text.with_name("digit.png")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(image)
    return Case(
        task_class=zoo.ImageClassification,
        settings={
            "pretrained": str(tiny_vit(text.with_name("tiny-vit"))),
            "augmentation": Augmentation(**augmentation),
        },
        data_class=zoo.ImageData,
        data_settings=data,
        prediction=["--image", str(image)],
        inputs=[np.full((8, 8), 40 * i, dtype=np.uint8) for i in range(3)],
        calm={"augmentation": Augmentation(scale=1, hflip=0)},
    )


def recordings(folder: Path, count: int = 62) -> Path:
    """Two words each of one to three letters, each letter a tone of 0.1 s, a space as much silence; metadata.csv."""
    folder.mkdir(exist_ok=True)
    rows, draw, time = ["file_name,text"], np.random.default_rng(0), np.arange(800) / 8000
    tones = {
        letter: np.sin(2 * np.pi * pitch * time) for letter, pitch in zip("abc ", (400, 900, 2000, 0), strict=True)
    }
    for i in range(count):
        words = ["".join(draw.choice(list("abc"), size=size, replace=False)) for size in (1 + i % 3, 1 + i % 2)]
        wave = 0.3 * np.concatenate([tones[letter] * np.hanning(800) for letter in " ".join(words)])
        soundfile.write(folder / f"{i}.wav", wave + 0.001 * draw.standard_normal(len(wave)), 8000)
        rows.append(f"{i}.wav,{' '.join(words)}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


SPEECH_AUGMENTATION = audio.Augmentation(
    speed=0.1, gain=6, noise="white", noise_snr_from=20, time_masks=2, frequency_masks=1
)


def speech_ctc(model: Path, text: Path, architecture: dict[str, Any] | None = None) -> Case:
    """A small processor on log-mels."""
    folder = recordings(text.with_name("tones"))
    small = {"name": "speech_encoder", "width": 16, "layers": 2, "kernel": 5, "mels": 20, "rate": 8000}
    rate = 16_000 if architecture else 8000
    return Case(
        task_class=zoo.SpeechCTC,
        settings={
            "architecture": architecture or small,
            "vocabulary": "abc ",
            "max_seconds": 1.0,
            "augmentation": SPEECH_AUGMENTATION,
        },
        calm={"augmentation": audio.Augmentation()},
        data_class=zoo.SpeechData,
        data_settings={"train": str(folder), "validation_fraction": 0.4, "num_workers": 0},
        prediction=["--audio", str(folder / "3.wav")],
        inputs=[SpeechSample(np.sin(np.arange(n) / 3).astype(np.float32), rate=rate) for n in (8000, 2000, 15_000)],
    )


TINY_WAV2VEC2: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": [16, 16],
    "conv_kernel": [10, 4], "conv_stride": [5, 16], "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def speech_ctc__wav2vec2(model: Path, text: Path) -> Case:
    """A tiny Wav2Vec2 with a group norm over time, on waveforms."""
    return speech_ctc(model, text, {"model_type": "wav2vec2", **TINY_WAV2VEC2})


BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 64, "initializer_range": 0.2}  # fmt: skip
ANIMALS = ("cat", "dog", "fox")


def tiny_bert(
    folder: Path,
    texts: list[str],
    names: tuple[str, ...] = ANIMALS,
    positions: int = 64,
    architecture: dict[str, Any] = BERT,
) -> Path:
    """A classifier of two layers of 16 with random weights for these classes, as a folder of transformers."""
    tokenizer = text_classifiers.train_tokenizer(texts, 300)
    config = hf.make_config({**architecture, "max_position_embeddings": positions})
    text_classifiers.set_vocabulary(config, tokenizer)
    text_classifiers.set_padding_token(config, tokenizer)
    text_classifiers.set_classes(config, [*names])
    torch.manual_seed(0)
    text_classifiers.build(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def animals(text: Path) -> Path:
    """A table of lines of various lengths, each with the animal that it tells of."""
    table = text.with_name("animals.csv")
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for i, line in enumerate(text.read_text().splitlines()):
            rows.writerow([line.replace("fox", ANIMALS[i % 3]) + " and eats" * (i % 5), ANIMALS[i % 3]])
    return table


def text_classification(model: Path, text: Path, architecture: dict[str, Any] = BERT) -> Case:
    table, folder = animals(text), text.with_name(f"tiny-{architecture['model_type']}")
    return Case(
        task_class=zoo.TextClassification,
        settings={
            "pretrained": str(tiny_bert(folder, [table.read_text()], architecture=architecture)),
            "max_length": 64,
            "label_smoothing": 0.1,
        },
        data_class=zoo.TextData,
        data_settings={"train": str(table), "label_column": "label", "validation_fraction": 0.4},
        prediction=["--prompt", "The 3th fox"],
        inputs=["The 3th fox", "The", "and then eats"],
        calm={"label_smoothing": 0.0},
    )


def text_classification__causal(model: Path, text: Path) -> Case:
    """A tiny Llama, which answers at the last token of a text."""
    case = text_classification(model, text, {**BERT, "model_type": "llama", "num_key_value_heads": 1})
    return replace(case, calm={**case.calm, "optimizer": partial(torch.optim.AdamW, lr=2e-2)})


TINY_WHISPER: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_mel_bins": 20, "max_source_positions": 50,
    "max_target_positions": 48,
}  # fmt: skip
"""It hears one second."""


def tiny_whisper(folder: Path, multilingual: bool = False) -> Path:
    """A Whisper with random weights that hears one second, as a folder of transformers."""
    tokenizer = whisper.train_tokenizer(["abc cab bca"], 260)
    config = whisper.make_config(TINY_WHISPER, tokenizer)
    generation = whisper.make_generation(config, tokenizer, multilingual)
    torch.manual_seed(0)
    whisper.save(
        whisper.build(config, generation, None, 0.0), tokenizer, whisper.mel_of(config), "", "transcribe", folder
    )
    return folder


def speech_seq2seq(model: Path, text: Path) -> Case:
    """A tiny Whisper from scratch, with a tokenizer of its own."""
    tokenizer = text.with_name("whisper-tokenizer")
    whisper.train_tokenizer(["abc cab bca"], 260).save_pretrained(tokenizer)
    case = speech_ctc(model, text)
    return replace(
        case,
        task_class=zoo.SpeechSeq2Seq,
        settings={
            "architecture": TINY_WHISPER,
            "tokenizer": str(tokenizer),
            "max_tokens": 16,
            "val_utterances": 5,
            "augmentation": SPEECH_AUGMENTATION,
        },
        inputs=[SpeechSample(np.sin(np.arange(n) / 3).astype(np.float32), rate=16_000) for n in (8000, 2000, 40_000)],
    )


def causal_lm__own_network(model: Path, text: Path) -> Case:
    """The GPT of docs/tutorials/own_network.md: plain torch, whose head zoo computes in chunks."""
    case = causal_lm(model, text)
    sizes = {"block_size": 64, "width": 64, "layers": 1, "heads": 2}
    architecture = {"class_path": "own_networks.NanoGPT", "init_args": sizes}
    settings = {"architecture": architecture, "tokenizer": str(model), "max_length": 16, "packing": "concat"}
    return replace(case, settings=settings)


CASES = {
    make.__name__: make
    for make in (
        *(causal_lm, causal_lm__lora, causal_lm__own_network, diffusion, image_classification),
        *(text_classification, text_classification__causal),
        *(speech_ctc, speech_ctc__wav2vec2, speech_seq2seq),
    )
}


def trainer(steps: int = -1, folder: Path | None = None, **kwargs: Any) -> zoo.Trainer:
    """A trainer without a run directory; with a folder it keeps a checkpoint of every step there."""
    callbacks = kwargs.pop("callbacks", [])
    if folder:
        saves = Checkpoints(every_n_steps=1, keep=10_000)
        saves.folder = folder
        callbacks = [*callbacks, saves]
    plain: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0, "logger": False}
    plain |= {"enable_progress_bar": False, "enable_model_summary": False}
    if not folder:
        plain["enable_checkpointing"] = False
    return zoo.Trainer(max_steps=steps, callbacks=callbacks, **(plain | kwargs))


def precision(name: str) -> dict[str, Any]:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler=scaler)]} if name == "fp16" else {"precision": name}


def weights(task: zoo.Task) -> torch.Tensor:
    return torch.cat([p.detach().cpu().flatten() for p in task.parameters()])


def trained(case: Case, *callbacks: Callback, steps: int = 5, of_trainer: Any = None, **settings: Any) -> torch.Tensor:
    """The weights after some steps with SGD, unless told otherwise."""
    task, t = case.task(**{"optimizer": SGD, **settings}), trainer(steps, callbacks=[*callbacks], **(of_trainer or {}))
    t.fit(task, datamodule=case.data())
    assert t.global_step == steps
    return weights(task)


@cache
def undisturbed(case: Case, **settings: Any) -> torch.Tensor:
    """What `trained` gives without callbacks: trained once for all tests that compare with it."""
    return trained(case, **settings)
