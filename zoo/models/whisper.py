"""Whisper of transformers: its weights, tokenizer and prompt, and transcripts out of it.

B samples · M mel bands · T tokens
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE
from transformers.utils import logging

from zoo.audio.features import WhisperMel
from zoo.audio.whisper_text import Prompt
from zoo.errors import ConfigError, UserError
from zoo.files.hub import explained, offline
from zoo.files.paths import follow
from zoo.models import pretrained as hf

Task = Literal["transcribe", "translate"]
_SPECIAL = ("<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>", "<|transcribe|>",
            "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")  # fmt: skip
_TIMESTAMPS = tuple(f"<|{0.02 * i:.2f}|>" for i in range(1501))


def load_config(name: str) -> WhisperConfig:
    config = hf.load_config(name)
    if not isinstance(config, WhisperConfig):
        raise ConfigError(f"model {name} is a {config.model_type}. SpeechSeq2Seq takes Whisper.")
    return config


def architecture(settings: dict[str, Any]) -> WhisperConfig:
    """An architecture of one's own."""
    config = hf.make_config({"model_type": "whisper", **settings})
    if not isinstance(config, WhisperConfig):
        raise ConfigError(f"model.architecture.model_type is {config.model_type}. SpeechSeq2Seq takes whisper.")
    return config


def make_config(settings: dict[str, Any], tokenizer: Any) -> WhisperConfig:
    """An architecture of one's own, with this tokenizer's vocabulary."""
    config = architecture(settings)
    config.vocab_size = len(tokenizer)
    config.decoder_start_token_id = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    config.bos_token_id = config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    config.begin_suppress_tokens = config.suppress_tokens = None
    return config


def load_generation(name: str, config: WhisperConfig) -> GenerationConfig:
    """How the model generates: which tokens it never writes, which heads tell when a word is said."""
    try:
        with explained(name, "model"):
            found = GenerationConfig.from_pretrained(str(follow(name)), local_files_only=offline())
    except UserError:
        found = GenerationConfig.from_model_config(config)
    return found


def make_generation(config: WhisperConfig, tokenizer: Any, multilingual: bool) -> GenerationConfig:
    """For a model from scratch."""
    ids = tokenizer.convert_tokens_to_ids
    heads = [[i, j] for i in range(config.decoder_layers // 2, config.decoder_layers)
             for j in range(config.decoder_attention_heads)]  # fmt: skip
    return GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        eos_token_id=config.eos_token_id,
        bos_token_id=config.bos_token_id,
        pad_token_id=config.pad_token_id,
        no_timestamps_token_id=ids("<|notimestamps|>"),
        prev_sot_token_id=ids("<|startofprev|>"),
        max_length=config.max_target_positions,
        is_multilingual=multilingual,
        lang_to_id={f"<|{code}|>": ids(f"<|{code}|>") for code in LANGUAGES},
        task_to_id={task: ids(f"<|{task}|>") for task in ("transcribe", "translate")},
        alignment_heads=heads,
        return_timestamps=False,
    )


def build(config: WhisperConfig, generation: GenerationConfig, name: str | None, dropout: float) -> Any:
    """The network, in 32 bits.

    Args:
        name: hub id or folder of its weights; None for new ones, from torch's global random stream.
    """
    hf.set_dropout(config, dropout)
    config.encoder_layerdrop = config.decoder_layerdrop = 0.0
    config.apply_spec_augment = False  # it draws from numpy's global state
    if name is None:
        with hf.refused("whisper cannot be built with these settings"):
            network = WhisperForConditionalGeneration(config)
    else:
        with explained(name, "model"):
            network = WhisperForConditionalGeneration.from_pretrained(
                str(follow(name)), config=config, dtype=torch.float32, local_files_only=offline()
            )
    network.generation_config = generation
    _keep_with_the_weights(network.model.encoder.embed_positions)
    return network


def _keep_with_the_weights(positions: nn.Embedding) -> None:
    """Sinusoids that are never trained become a buffer of the same name: a checkpoint then has all of the network."""
    values = positions.weight.detach()
    del positions.weight
    positions.register_buffer("weight", values)


def mel_of(config: WhisperConfig) -> WhisperMel:
    """How the model hears. All Whispers have the same windows; they differ in their bands."""
    mel = WhisperMel(mels=config.num_mel_bins)
    return replace(mel, seconds=2 * config.max_source_positions * mel.hop // mel.rate)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A byte-level BPE trained on the texts, with Whisper's special tokens and timestamps after it."""
    plain = json.loads(hf.train_tokenizer(texts, vocab_size).backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in plain["merges"]]
    tokenizer = WhisperTokenizer(vocab=plain["vocab"], merges=merges, pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [*_SPECIAL]})
    tokenizer.add_tokens([*_TIMESTAMPS])
    return tokenizer


def prompt(
    tokenizer: Any, config: WhisperConfig, generation: GenerationConfig, language: str | None, task: Task
) -> Prompt:
    """The prompt for a language and a task.

    Raises:
        ConfigError: there is no such language, or the model knows English only.
    """
    ids = tokenizer.convert_tokens_to_ids
    multilingual = bool(getattr(generation, "is_multilingual", False))
    code = (language or str(getattr(generation, "language", None) or "")).strip("<|>").lower()
    code = TO_LANGUAGE_CODE.get(code, code)
    if code and code not in LANGUAGES:
        raise ConfigError(f"model.language is {language!r}; a code or name that Whisper knows, as hi or hindi.")
    if not multilingual and (code not in ("", "en") or task != "transcribe"):
        raise ConfigError("this Whisper transcribes English only. Set model.pretrained to a multilingual one.")
    further = (ids(f"<|{code}|>"), ids(f"<|{task}|>")) if multilingual and code else ()
    no_timestamps = getattr(generation, "no_timestamps_token_id", None) or ids("<|notimestamps|>")
    return Prompt(
        int(config.decoder_start_token_id), further, int(no_timestamps), int(ids(tokenizer.eos_token)),
        code or ("" if multilingual else "en"),
    )  # fmt: skip


@contextmanager
def _without_advice() -> Iterator[None]:
    """`generate` gives up to three lines of advice a call, none of which a user can follow."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def generate(
    network: Any,
    features: Tensor,
    language: str | None,
    task: Task,
    max_new_tokens: int,
    timestamps: bool = False,
    frames: Tensor | None = None,
    at_least: int = 0,
) -> tuple[list[list[int]], list[bool], list[list[float]] | None]:
    """The likeliest tokens one by one: without prompt and end; whether each came to its end; when each token ends.

    Args:
        features: [B, M, 3000].
        language: code; None to have a multilingual model detect it.
        frames: [B], mel frames that are real, to have the times of the tokens, too.
        at_least: tokens, to measure memory with.
    """
    further: dict[str, Any] = {}
    if getattr(network.generation_config, "is_multilingual", False):
        further = {"language": language, "task": task}
    if frames is not None:
        real = torch.arange(features.shape[2], device=features.device) < frames[:, None]
        further |= {"return_token_timestamps": True, "attention_mask": real.long()}
    else:
        further["attention_mask"] = torch.ones_like(features[:, 0], dtype=torch.long)
    if at_least:
        further["min_new_tokens"] = min(at_least, max_new_tokens)
    with _without_advice():
        made = network.generate(features, max_new_tokens=max_new_tokens, return_timestamps=timestamps, **further)
    times = made["token_timestamps"].tolist() if frames is not None else None
    rows = (made["sequences"] if frames is not None else made).tolist()
    end = network.config.eos_token_id
    finished = [len(row) < max_new_tokens or row[-1] == end for row in rows]
    lengths = [next((i for i, token in enumerate(row) if token == end), len(row)) for row in rows]
    cut = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    return cut, finished, times


def save(network: Any, tokenizer: Any, mel: WhisperMel, language: str, task: Task, folder: Path) -> None:
    """For `pipeline("automatic-speech-recognition", FOLDER)`, with the language and the task that were trained."""
    generation = network.generation_config
    if getattr(generation, "is_multilingual", False) and language:
        generation.language, generation.task = language, task
        tokenizer.set_prefix_tokens(language=language, task=task)
    generation.forced_decoder_ids = None
    generation.num_beams = 1  # a pipeline takes five otherwise, and its text is another one than was measured
    network.save_pretrained(folder)
    if tokenizer.pad_token is None:  # as in the English-only ones; a pipeline pads its batches
        tokenizer.pad_token = tokenizer.eos_token
    extractor = WhisperFeatureExtractor(mel.mels, mel.rate, mel.hop, mel.seconds, mel.n_fft)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
