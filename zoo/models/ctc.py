"""Networks for CTC, behind one face: Wav2Vec2, HuBERT and WavLM of transformers, and small ones from scratch.

B samples · S samples of a waveform · T frames of features · F frames of the network · V symbols
"""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import devices
from zoo.audio.alphabet import Alphabet
from zoo.audio.features import LogMel, Waveform
from zoo.errors import ConfigError, UserError
from zoo.files.hub import explained, offline
from zoo.files.paths import follow, write_text
from zoo.models import pretrained as hf
from zoo.models import speech_encoder
from zoo.models.speech_encoder import SpeechEncoderConfig, SpeechProcessor

Freeze = Literal["feature_encoder", "encoder", "none"]
FAMILIES = ("wav2vec2", "hubert", "wavlm")
"""Types of transformers whose padding is known to change nothing (tests/models/test_ctc.py)."""
SMALL = "speech_encoder"


def summed_loss(logits: Tensor, frames: Tensor, targets: Tensor, lengths: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """CTC loss in fp32, summed over the samples, and how many targets they have.

    A sample with more targets than its frames can show has no loss, and its targets do not count. One without any
    target counts as one: it learns to be silent.

    Args:
        logits: [B, F, V].
        frames: [B] int64, frames that are real.
        targets: [B, L] int64, whatever stands after a sample's own.
        lengths: [B] int64, targets that are real.
    """
    real = torch.arange(targets.shape[1], device=targets.device) < lengths[:, None]
    twice = ((targets[:, 1:] == targets[:, :-1]) & real[:, 1:]).sum(1)
    feasible = lengths + twice <= frames
    with torch.autocast(logits.device.type, enabled=False):
        log_probabilities = logits.float().log_softmax(-1).transpose(0, 1)
        losses = F.ctc_loss(
            log_probabilities,
            targets.masked_fill(~real, 0),
            frames,
            lengths,
            blank,
            reduction="none",
            zero_infinity=True,  # else what has no path has a gradient of NaN
        )
    return (losses * feasible).sum(), (lengths.clamp(min=1) * feasible).sum()


class SmallNetwork:
    """A `SpeechProcessor`, on log-mels.

    Args:
        config: its sizes.
    """

    def __init__(self, config: SpeechEncoderConfig):
        self.config = config
        self.inputs = LogMel(config.rate, config.mels)

    def describe(self) -> dict[str, Any]:
        return {SMALL: asdict(self.config)}

    def frames(self, length: int) -> int:
        """F of so many frames of `inputs`."""
        return speech_encoder.frames(length)

    @property
    def step(self) -> int:
        """Samples from one frame of the network to the next."""
        return self.inputs.hop * speech_encoder.STEP

    def alphabet(self) -> Alphabet | None:
        return None

    def build(self, alphabet: Alphabet, load: bool, dropout: float, freeze: Freeze, masks: bool) -> nn.Module:
        return SpeechProcessor(self.config, len(alphabet.symbols), dropout)

    def checkpoint_activations(self, network: Any) -> None:
        network.checkpointing = True

    def logits(self, network: Any, features: Tensor, length: Tensor, masked: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B, F, V], and how many frames of each sample are real, [B]."""
        return network(features, length)

    def save(self, network: Any, folder: Path, alphabet: Alphabet) -> None:
        """Weights (safetensors) and config.json, which `zoo.models.ctc.load_small` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        settings = {"model_type": SMALL, **asdict(self.config), "alphabet": asdict(alphabet)}
        write_text(folder / "config.json", json.dumps(settings, indent=2, ensure_ascii=False))


class TransformersNetwork:
    """Wav2Vec2, HuBERT or WavLM, on waveforms.

    Args:
        name: hub id or folder; None where only the architecture is known.
        config: the architecture; None to read that of `name`.
        normalised: whether it wants normalised waveforms; None to look at what stands beside the weights.
    """

    def __init__(self, name: str | None, config: dict[str, Any] | None = None, normalised: bool | None = None):
        self.name = name
        self.config = hf.load_config(str(name)) if config is None else hf.config_again(config)
        if self.config.model_type not in FAMILIES or getattr(self.config, "add_adapter", False):
            raise ConfigError(
                f"model {name or self.config.model_type}: SpeechCTC takes {', '.join(FAMILIES)} without adapters, and "
                f"small networks from scratch ({{name: {SMALL}}}). Whisper is trained by zoo.SpeechSeq2Seq."
            )
        self.inputs = Waveform(16_000, self._normalised() if normalised is None else normalised, self._least())

    def describe(self) -> dict[str, Any]:
        return {"transformers": self.config.to_dict(), "normalised": self.inputs.normalised}

    def _normalised(self) -> bool:
        """Whether the weights were trained on normalised waveforms; what their preprocessor says, or their kind."""
        if self.name and (found := _preprocessor(self.name)):
            return bool(found.get("do_normalize", True))
        return True

    def _least(self) -> int:
        samples = 1
        for kernel, stride in reversed(list(zip(self.config.conv_kernel, self.config.conv_stride, strict=True))):
            samples = (samples - 1) * stride + kernel
        return samples

    @property
    def step(self) -> int:
        return math.prod(self.config.conv_stride)

    def frames(self, length: int) -> int:
        return int(self._frames(torch.tensor(length)))

    def _frames(self, length: Tensor) -> Tensor:
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            length = (length - kernel) // stride + 1
        return length

    def alphabet(self) -> Alphabet | None:
        """That of the weights, if they were fine-tuned for CTC."""
        if self.name is None:
            return None
        from transformers import Wav2Vec2CTCTokenizer

        try:
            with explained(self.name, "tokenizer"):
                tokenizer: Any = Wav2Vec2CTCTokenizer.from_pretrained(
                    str(follow(self.name)), local_files_only=offline(), trust_remote_code=False
                )
        except UserError:
            return None
        numbers = {number: symbol for symbol, number in tokenizer.get_vocab().items()}
        symbols = tuple(numbers.get(i, "") for i in range(self.config.vocab_size))
        return Alphabet(symbols, int(tokenizer.pad_token_id), tokenizer.word_delimiter_token or " ")

    def build(self, alphabet: Alphabet, load: bool, dropout: float, freeze: Freeze, masks: bool) -> nn.Module:
        from transformers import AutoModelForCTC

        config = self.config
        config.vocab_size, config.pad_token_id = len(alphabet.symbols), alphabet.blank
        hf.set_dropout(config, dropout)
        config.layerdrop = 0.0
        config.apply_spec_augment = True  # only then does `forward` take masks; its own, from numpy's state, are off
        config.mask_feature_prob = 0.0
        config.mask_time_prob = float(masks)  # the embedding of a mask is made only if this is not 0
        if load and not devices.is_planned():
            assert self.name is not None
            with explained(self.name, "model"):
                network: Any = AutoModelForCTC.from_pretrained(
                    str(follow(self.name)),
                    config=config,
                    dtype=torch.float32,
                    local_files_only=offline(),
                    trust_remote_code=False,
                    ignore_mismatched_sizes=True,
                )
            if alphabet != self.alphabet():
                nn.init.normal_(network.lm_head.weight, std=config.initializer_range)
                nn.init.zeros_(network.lm_head.bias)
        else:
            with hf.refused(f"{config.model_type} cannot be built with these settings"):
                network = AutoModelForCTC.from_config(config, dtype=torch.float32, trust_remote_code=False)
        if load and freeze == "feature_encoder":
            network.freeze_feature_encoder()
        elif load and freeze == "encoder":
            network.freeze_base_model()
        config.mask_time_prob = 0.0
        _see_no_padding(network)
        return network

    def checkpoint_activations(self, network: Any) -> None:
        network.activation_checkpointing_enable()  # non-reentrant

    def logits(self, network: Any, features: Tensor, length: Tensor, masked: Tensor | None) -> tuple[Tensor, Tensor]:
        real = torch.arange(features.shape[1], device=features.device) < length[:, None]
        for module in network.modules():
            if isinstance(module, _GroupNormOfRealFrames):
                module.length = (length - self.config.conv_kernel[0]) // self.config.conv_stride[0] + 1
        further = {} if masked is None else {"mask_time_indices": masked}
        logits = network(features, attention_mask=real.long(), **further).logits
        return logits, self._frames(length)

    def save(self, network: Any, folder: Path, alphabet: Alphabet) -> None:
        """For `pipeline("automatic-speech-recognition", FOLDER)`."""
        from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

        network.save_pretrained(folder)
        vocabulary = {symbol: i for i, symbol in enumerate(alphabet.symbols) if symbol}
        write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
        blank = alphabet.symbols[alphabet.blank]
        tokenizer = Wav2Vec2CTCTokenizer(
            str(folder / "vocab.json"),
            pad_token=blank,
            unk_token="<unk>" if "<unk>" in vocabulary else blank,
            bos_token="<s>" if "<s>" in vocabulary else None,
            eos_token="</s>" if "</s>" in vocabulary else None,
            word_delimiter_token=alphabet.delimiter,
            clean_up_tokenization_spaces=False,
        )
        extractor = Wav2Vec2FeatureExtractor(
            do_normalize=self.inputs.normalised, return_attention_mask=self.config.feat_extract_norm == "layer"
        )
        Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)


class _GroupNormOfRealFrames(nn.GroupNorm):
    """Normalises each channel over the real frames of each sample, so that padding changes nothing.

    With the plain one, what a sample becomes depends on how long the others in its batch are, which is why
    transformers gives these networks no attention mask. Every frame here is what it is for the sample alone.
    """

    length: Tensor | None = None
    """[B], frames that are real; None for all."""

    def forward(self, x: Tensor) -> Tensor:  # [B, C, F]
        if self.length is None:
            return super().forward(x)
        real = (torch.arange(x.shape[2], device=x.device) < self.length[:, None])[:, None]
        count = self.length.clamp(min=1)[:, None, None]
        values = x.float()
        mean = (values * real).sum(2, keepdim=True) / count
        variance = ((values - mean).square() * real).sum(2, keepdim=True) / count
        made = (values - mean) * (variance + self.eps).rsqrt()
        return (made * self.weight[:, None] + self.bias[:, None]).to(x.dtype)


def _see_no_padding(network: nn.Module) -> None:
    """Put group norms over real frames in the place of those over all frames, with the same weights and names."""
    for module in list(network.modules()):
        for name, plain in list(module.named_children()):
            if isinstance(plain, nn.GroupNorm) and plain.num_groups == plain.num_channels:
                made = _GroupNormOfRealFrames(plain.num_groups, plain.num_channels, plain.eps)
                made.weight, made.bias = plain.weight, plain.bias
                setattr(module, name, made)


Network = SmallNetwork | TransformersNetwork


def find(source: str | dict[str, Any]) -> Network:
    """The network of a hub id or folder, or of an architecture written out.

    Args:
        source: a hub id or folder of transformers; or `{name: speech_encoder}` with its sizes, or `{model_type: …}`
            with settings of that type of transformers.

    Raises:
        ConfigError: there is no such network.
    """
    if isinstance(source, str):
        return SmallNetwork(SpeechEncoderConfig()) if source == SMALL else TransformersNetwork(source)
    settings = dict(source)
    if "model_type" in settings:
        return TransformersNetwork(None, hf.make_config(settings).to_dict())
    known = [field.name for field in fields(SpeechEncoderConfig)]
    if settings.pop("name", None) != SMALL:
        raise ConfigError(f"model.architecture: name ({SMALL}) or model_type ({', '.join(FAMILIES)}).")
    if unknown := settings.keys() - set(known):
        raise ConfigError(
            f"model.architecture: {SMALL} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}."
        )
    config = SpeechEncoderConfig(**settings)
    if config.kernel % 2 == 0:
        raise ConfigError(f"model.architecture.kernel is {config.kernel}. Set an odd number.")
    return SmallNetwork(config)


def restore(description: dict[str, Any]) -> Network:
    """What `describe` described, without a look at the place that it came from."""
    if SMALL in description:
        return SmallNetwork(SpeechEncoderConfig(**description[SMALL]))
    return TransformersNetwork(None, description["transformers"], description["normalised"])


def load_small(folder: Path) -> tuple[SmallNetwork, Alphabet, nn.Module]:
    """What `SmallNetwork.save` wrote: how it is fed, its alphabet, and the network."""
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    known = settings.pop("alphabet")
    alphabet = Alphabet(tuple(known["symbols"]), known["blank"], known["delimiter"])
    settings.pop("model_type")
    source = SmallNetwork(SpeechEncoderConfig(**settings))
    network = source.build(alphabet, load=False, dropout=0.0, freeze="none", masks=False)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return source, alphabet, network.eval()


def _preprocessor(name: str) -> dict[str, Any] | None:
    from transformers import FeatureExtractionMixin

    try:
        return FeatureExtractionMixin.get_feature_extractor_dict(str(follow(name)), local_files_only=offline())[0]
    except OSError:
        return None
