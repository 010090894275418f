"""SpeechSeq2Seq: what is said in a recording, token by token. Whisper of any size, multilingual or English-only.

B samples · M mel bands · T tokens · V vocabulary
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor
from transformers import GenerationConfig, WhisperConfig

from zoo import streams
from zoo.audio import report, transcripts, whisper_text, windows
from zoo.audio.augment import Augmentation
from zoo.audio.features import WhisperMel
from zoo.audio.long_recordings import LongRecordings
from zoo.audio.measures import Scores
from zoo.audio.whisper_processor import IGNORED, WhisperProcessor
from zoo.audio.whisper_text import Prompt
from zoo.constraints import ClosedUnitInterval, PositiveInt, checked
from zoo.errors import ConfigError
from zoo.loop import ranks
from zoo.loop.microbatch import Loss
from zoo.models import head, whisper
from zoo.models import pretrained as hf
from zoo.rules import ExactlyOne
from zoo.samples import INDEX, Batch, Item, Processor, SpeechSample, Split
from zoo.task import Task

_PLAIN = Augmentation()
_AT_ONCE = 8
"""Windows of a long recording that go through the network together."""


@checked
class SpeechSeq2Seq(Task):
    """Train, test and use Whisper.

    A batch has `features` ([B, M, frames] of log-mels), `ids` ([B, T], what the decoder reads), `targets` ([B, T], the
    token after each, -100 where there is no loss), `length` ([B], T of each), and by sample `text` (the transcript),
    `name` and `seconds`.

    Args:
        pretrained: hub id or folder of a Whisper, whose weights training starts from.
        architecture: instead of pretrained: train from scratch. Settings of transformers' type whisper (d_model,
            encoder_layers …).
        tokenizer: hub id or folder of the tokenizer. null takes that of pretrained.
        vocab_size: instead of tokenizer: train a byte-level BPE of this many tokens on the training transcripts, to
            which Whisper's special tokens are added.
        language: of the transcripts, as hi. It is part of labels, prompts and generation of multilingual models, and
            decides how error rates are normalised.
        task: transcribe writes what is said. translate writes it in English.
        timestamp_share: of the training samples, that are learned with timestamps, so that long recordings can still
            be transcribed after fine-tuning. A sample without times of its own is one segment.
        max_tokens: of a transcript with its prompt. Recordings with more are left out, and generation stops there.
        val_utterances: that are transcribed at each validation, always the same. The loss is over all of them, and a
            test transcribes all.
        augmentation: how training recordings are varied.
        freeze: encoder trains the decoder only.
        dropout: for every dropout in the network.
        word_times: predictions have the beginning and the end of every word too, and an image of them.
    """

    unit = "tokens"
    sample_type = SpeechSample
    predicts_from = "--audio x.wav"
    changeable_on_resume = ("model.word_times", "model.val_utterances")
    rules = (
        ExactlyOne(("pretrained", "architecture"), "weights to start from, or a network to train from scratch"),
        ExactlyOne(("tokenizer", "vocab_size"), "that of a model, or one to train on the text", given="architecture"),
    )

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        vocab_size: PositiveInt | None = None,
        language: str | None = None,
        task: whisper.Task = "transcribe",
        timestamp_share: ClosedUnitInterval = 0.2,
        max_tokens: Annotated[int, Ge(8), Le(448)] = 225,
        val_utterances: PositiveInt = 200,
        augmentation: Augmentation = _PLAIN,
        freeze: Literal["none", "encoder"] = "none",
        dropout: ClosedUnitInterval = 0.0,
        word_times: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pretrained, self.architecture = pretrained, architecture
        self.tokenizer_name, self.vocab_size = tokenizer or pretrained, vocab_size
        self.language, self.speech_task, self.timestamp_share = language, task, timestamp_share
        self.max_tokens, self.val_utterances = max_tokens, val_utterances
        self.augmentation = augmentation
        self.freeze_part, self.dropout, self.word_times = freeze, dropout, word_times
        self._scores = Scores(None)
        self._transcribed: frozenset[int] | None = None

    # The network ------------------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[Any]) -> None:
        if self.vocab_size:
            written = whisper_text.Prompt(0, (), 0, 0).written
            texts = (written(sample.text or "") for sample in samples)
            self.tokenizer = whisper.train_tokenizer(texts, self.vocab_size)
        self.data_state = self._found()
        if getattr(self.generation, "is_multilingual", False) and not self.prompt.language:
            raise ConfigError("this Whisper knows many languages. Set model.language to that of the transcripts.")

    def _found(self) -> dict[str, Any]:
        """What the weights, or the settings of an architecture, say of the model."""
        if self.pretrained:
            config = whisper.load_config(self.pretrained)
            generation = whisper.load_generation(self.pretrained, config)
        else:
            config = whisper.make_config(self.architecture or {}, self.tokenizer)
            generation = whisper.make_generation(config, self.tokenizer, multilingual=self.language is not None)
        return {
            "tokenizer": hf.tokenizer_files(self.tokenizer),
            "config": config.to_dict(),
            "generation": generation.to_dict(),
        }

    @cached_property
    def _untrained(self) -> dict[str, Any]:
        return self._found()

    @property
    def _known(self) -> dict[str, Any]:
        return self.data_state or self._untrained

    @cached_property
    def tokenizer(self) -> Any:
        if "tokenizer" in self.data_state:
            return hf.tokenizer_from_files(self.data_state["tokenizer"])
        if self.tokenizer_name is None:
            raise ConfigError("a model from scratch has no tokenizer before it is trained; name a run with --run.")
        return hf.load_tokenizer(self.tokenizer_name)

    @cached_property
    def config(self) -> WhisperConfig:
        return WhisperConfig.from_dict(self._known["config"])

    @cached_property
    def generation(self) -> GenerationConfig:
        return GenerationConfig.from_dict(self._known["generation"])

    @cached_property
    def mel(self) -> WhisperMel:
        """How the network hears; it is asked for before there is a tokenizer."""
        if "config" in self.data_state:
            return whisper.mel_of(self.config)
        if self.pretrained:
            return whisper.mel_of(whisper.load_config(self.pretrained))
        return whisper.mel_of(whisper.architecture(self.architecture or {}))

    @cached_property
    def prompt(self) -> Prompt:
        return whisper.prompt(self.tokenizer, self.config, self.generation, self.language, self.speech_task)

    @property
    def max_seconds(self) -> float:
        """The longest recording that the network hears at once."""
        return float(self.mel.seconds)

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        load = self.pretrained if not self.restored else None
        with streams.seeded(self.seed, "initial weights"):
            self.network = whisper.build(self.config, self.generation, load, self.dropout)
        if self.freeze_part == "encoder":
            self.network.model.encoder.requires_grad_(False)
        if self.gradient_checkpointing:
            self.network.activation_checkpointing_enable()  # non-reentrant
        self.train(self.training)

    # Batches ----------------------------------------------------------------------------------------------------

    def processor(self, split: Split) -> Processor:
        if split == "predict":
            return LongRecordings(self.mel.rate)
        share, vary = (self.timestamp_share, self.augmentation) if split == "train" else (0.0, None)
        return WhisperProcessor(self.tokenizer, self.prompt, self.mel, self.max_tokens, share, vary)

    def example_batch(self, n: int) -> Batch:
        noise = torch.randn(self.mel.samples, generator=streams.generator("example batch")).numpy()
        tokens = self.max_tokens - 1
        ids = torch.full((n, tokens), self.prompt.end)
        return {
            "features": self.mel.padded(self.mel(noise)).repeat(n, 1, 1),
            "ids": ids,
            "targets": ids.clone(),
            "length": torch.full((n,), tokens),
            "text": [""] * n,
            "name": [""] * n,
            "seconds": [self.max_seconds] * n,
        }

    def prediction_example(self, n: int) -> Batch:
        """Recordings of one window each, none of which ends before its time."""
        silence = np.zeros(self.mel.samples, np.float32)
        return {"waveform": [silence] * n, "name": [""] * n, "start": [0.0] * n, "at_least": self.max_tokens}

    def prediction_settings(self) -> Any:
        return self.word_times, self.max_tokens

    def trim(self, piece: Batch) -> Batch:
        if "ids" not in piece:
            return piece
        longest = int(piece["length"].max())
        return {**piece, **{name: piece[name][:, :longest].contiguous() for name in ("ids", "targets")}}

    def show_loss_mask(self, item: Item) -> str:
        prompt = self.prompt.tokens(timestamps=False)
        said = self.tokenizer.decode(item["ids"][len(prompt) :])
        return f"{item['name']}: {item['seconds']:.1f} s: {self.tokenizer.decode(prompt)}⟦{said}⟧"

    def captions(self, batch: Batch) -> list[str]:
        return [self.tokenizer.decode([*ids[:n], self.prompt.end]) for ids, n in
                zip(batch["ids"].tolist(), batch["length"].tolist(), strict=True)]  # fmt: skip

    # What is computed -------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Loss:
        return self._loss(batch)

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = batch["targets"]
        hidden = self.network.model(batch["features"], decoder_input_ids=batch["ids"], use_cache=False)[0]  # [B, T, D]
        learned = targets != IGNORED
        weight = self.network.proj_out.weight
        return head.summed_cross_entropy(hidden[learned], weight, None, targets[learned]), learned.sum()

    def to_compile(self) -> Any:
        return self.network.model

    def _new_scores(self) -> None:
        spellings = getattr(self.tokenizer, "english_spelling_normalizer", None) or {}
        written = "en" if self.speech_task == "translate" else self.prompt.language
        self._scores = Scores(written, tuple(sorted(spellings.items())))
        self._transcribed = None

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._new_scores()

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._new_scores()

    def evaluate(self, batch: Batch) -> Loss:
        chosen = [i for i, index in enumerate(batch[INDEX]) if self._is_transcribed(index)]
        some = {name: [batch[name][i] for i in chosen] for name in (INDEX, "name", "text", "seconds")}
        texts: list[str] = []
        finished: list[bool] = []
        if chosen:
            with self._scores.timed(some["seconds"]):
                rows, finished, _ = self._generate(batch["features"][chosen], timestamps=False)
                texts = [whisper_text.decoded(self.tokenizer, row) for row in rows]
        return {
            "loss": self._loss(batch),
            "errors": self._scores.add(some, texts, finished),
            "never_stopped": (torch.tensor(float(finished.count(False))), len(chosen)),
        }

    def _is_transcribed(self, index: int) -> bool:
        """All in a test; in validation the same few each time."""
        if self.trainer.testing:
            return True
        if self._transcribed is None:
            count = len(self.trainer.datamodule.items["validation"])
            order = streams.permutation(count, self.seed, "transcribed").tolist()
            self._transcribed = frozenset(order[: self.val_utterances])
        return index in self._transcribed

    def _generate(
        self, features: Tensor, timestamps: bool, frames: Tensor | None = None, at_least: int = 0
    ) -> tuple[list[list[int]], list[bool], list[list[float]] | None]:
        most = self.max_tokens - len(self.prompt.tokens(timestamps))
        language = self.prompt.language or None
        return whisper.generate(self.network, features, language, self.speech_task, most, timestamps, frames, at_least)

    def compute_metrics(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        rates = self._scores.rates(means["errors"], counts["errors"])
        return {"loss": means["loss"], **rates, "never_stopped": means["never_stopped"], "utterances": counts["errors"]}

    def eval_settings(self, split: Split) -> dict[str, Any]:
        language = {"language": self.prompt.language} if self.prompt.language else {}
        return {"decoding": "greedy", **language, "task": self.speech_task, **self._scores.settings(split)}

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._scores.worst.merge(ranks.gather(self._scores.worst.found))

    def write_test_report(self, folder: Path) -> list[Path]:
        """The utterances with most wrong words, as text and as a page in colours."""
        return report.worst(self._scores.worst.ranked(), self._scores.normalise, folder)

    # Transcribing -----------------------------------------------------------------------------------------------

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        rate, found = self.mel.rate, []
        for name, start, waveform in zip(batch["name"], batch["start"], batch["waveform"], strict=True):
            parts = windows.at_pauses(waveform, rate, self.mel.seconds)
            segments: list[dict[str, Any]] = []
            for first in range(0, len(parts), _AT_ONCE):
                some = parts[first : first + _AT_ONCE]
                heard = self._heard([waveform[a:b] for a, b in some], batch.get("at_least", 0))
                for (begin, _), lines in zip(some, heard, strict=True):
                    segments += [windows.shifted(line, start + begin / rate) for line in lines]
            found.append({"path": name, "text": " ".join(s["text"] for s in segments), "segments": segments})
        return found

    def _heard(self, waveforms: list[np.ndarray], at_least: int) -> list[list[dict[str, Any]]]:
        """Segments of each window, with times from its beginning."""
        mels = [self.mel(waveform) for waveform in waveforms]
        features = torch.stack([self.mel.padded(mel) for mel in mels]).to(self.device)
        frames = torch.tensor([mel.shape[1] for mel in mels], device=self.device) if self.word_times else None
        rows, _, times = self._generate(features, True, frames, at_least)
        found = []
        for i, row in enumerate(rows):
            seconds = len(waveforms[i]) / self.mel.rate
            segments = whisper_text.segments(self.tokenizer, self.prompt, row, seconds)
            if times is not None:
                words = whisper_text.words(self.tokenizer, self.prompt, row, times[i])
                segments = windows.with_words(segments, words)
            found.append(segments)
        return found

    def write_prediction(self, prediction: dict[str, Any], folder: Path, number: int) -> dict[str, Any]:
        transcripts.write(prediction, folder, number)
        return prediction

    def finish_predictions(self, folder: Path) -> list[Path]:
        """Subtitles and text of each recording, and a table of all to correct by hand and to train on."""
        return transcripts.written(folder)

    def format_prediction(self, prediction: dict[str, Any]) -> str:
        return f"{prediction['path']}: {prediction['text']}"

    def preview(self) -> list[str]:
        """Three validation utterances: what was said, and what is heard."""
        items = self.trainer.datamodule.items["validation"]
        some = [item for i in range(min(3, len(items))) if (item := items[i]) is not None]
        if not some:
            return []
        batch = self.to_device(self.processor("validation").collate(some))
        rows, _, _ = self._generate(batch["features"], timestamps=False)
        heard = [whisper_text.decoded(self.tokenizer, row) for row in rows]
        return [f"said:  {item['text']}\nheard: {text}" for item, text in zip(some, heard, strict=True)]

    def save_model(self, folder: Path) -> None:
        whisper.save(self.network, self.tokenizer, self.mel, self.prompt.language, self.speech_task, folder)
