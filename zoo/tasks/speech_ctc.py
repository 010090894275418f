"""SpeechCTC: what is said in a recording, letter by letter. Wav2Vec2, HuBERT, WavLM, and small encoders from scratch.

B samples · T frames of features · F frames of the network · V symbols
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo import streams
from zoo.audio import alphabet as alphabets
from zoo.audio import ctc_times, report, transcripts, windows
from zoo.audio.alphabet import Alphabet
from zoo.audio.augment import Augmentation
from zoo.audio.ctc_processor import CTCProcessor
from zoo.audio.features import Waveform
from zoo.audio.long_recordings import LongRecordings
from zoo.audio.measures import Scores
from zoo.audio.normalise import as_written, plain
from zoo.constraints import ClosedUnitInterval, PositiveFloat, checked
from zoo.errors import ConfigError, DataError
from zoo.loop import ranks
from zoo.loop.microbatch import Loss
from zoo.models import ctc
from zoo.rules import ExactlyOne
from zoo.samples import Batch, Item, Processor, SpeechSample, Split
from zoo.task import Task

_FORMS = {"plain": plain, "as_written": as_written}
_PLAIN = Augmentation()
_AT_ONCE = 8
"""Windows of a long recording that go through the network together."""
_SILENT = 0.999
"""Share of blanks from which on a network says nothing."""


@checked
class SpeechCTC(Task):
    """Train, test and use a speech recogniser whose letters come frame by frame (CTC).

    A batch has `features` ([B, T, M] of log-mels, or [B, T] of waveforms) and `length` ([B], T of each), `targets`
    ([B, L], the numbers of the letters) and `target_length` ([B], L of each), and by sample `text` (the transcript),
    `name` and `seconds`. If networks on waveforms are trained with masks, it has `masked` ([B, F] bool) too.

    Args:
        pretrained: hub id or folder of a Wav2Vec2, HuBERT or WavLM, whose weights training starts from.
        architecture: instead of pretrained: train from scratch. speech_encoder, or `{name: speech_encoder}` with its
            sizes (width, layers, kernel, mels, rate), or `{model_type: wav2vec2}` with settings of that type.
        vocabulary: the letters that the network can write, as abcdefghijklmnopqrstuvwxyz'. null for those of
            pretrained, if it was fine-tuned for CTC, else those of the training transcripts.
        transcript: plain teaches transcripts in lower case without punctuation, as_written as they are.
        language: of the recordings, as en. It decides how error rates are normalised, and not the training.
        max_seconds: the longest recording in training and evaluation. Longer ones are transcribed in windows of it.
        augmentation: how training recordings are varied. Networks on waveforms have no bands to mask, only time.
        freeze: what of pretrained keeps its weights: feature_encoder (the convolutions), or encoder (all but the head).
        dropout: for every dropout in the network.
        word_times: predictions have the beginning and the end of every word too, and an image of them.
    """

    unit = "letters"
    sample_type = SpeechSample
    predicts_from = "--audio x.wav"
    changeable_on_resume = ("model.language", "model.word_times")
    rules = (ExactlyOne(("pretrained", "architecture"), "weights to start from, or a network to train from scratch"),)

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: str | dict[str, Any] | None = None,
        vocabulary: str | None = None,
        transcript: Literal["plain", "as_written"] = "plain",
        language: str | None = None,
        max_seconds: PositiveFloat = 20.0,
        augmentation: Augmentation = _PLAIN,
        freeze: ctc.Freeze = "feature_encoder",
        dropout: ClosedUnitInterval = 0.0,
        word_times: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pretrained, self.architecture, self.vocabulary = pretrained, architecture, vocabulary
        self.transcript, self.language = _FORMS[transcript], language
        self.max_seconds, self.freeze_part, self.dropout = max_seconds, freeze, dropout
        self.augmentation, self.word_times = augmentation, word_times
        self._scores = Scores(language)

    # The network ------------------------------------------------------------------------------------------------

    def setup_from_data(self, samples: Sequence[Any]) -> None:
        source = ctc.find(self.pretrained or self.architecture or "")
        texts = [self.transcript(sample.text) for sample in samples if sample.text is not None]
        alphabet = self._given(source) or alphabets.of_texts(texts)
        if not alphabet.numbers.keys() - {" "}:
            raise DataError("data.train: the transcripts have no letters to learn.")
        if unknown := alphabet.unknown(texts):
            some = ", ".join(f"{letter!r} ({count:,} times)" for letter, count in unknown.most_common(6))
            print(f"the vocabulary has no {some}: {sum(unknown.values()):,} letters of the transcripts are left out.")
        self.data_state = {"alphabet": asdict(alphabet), "network": source.describe()}

    def _given(self, source: ctc.Network) -> Alphabet | None:
        """The letters that are set, or that the weights were fine-tuned for."""
        return alphabets.of_texts([self.vocabulary]) if self.vocabulary else source.alphabet()

    def _known(self) -> dict[str, Any]:
        """What is known from the training data; before that, what is known without it."""
        if not self.data_state:
            source = ctc.find(self.pretrained or self.architecture or "")
            if (alphabet := self._given(source)) is None:
                raise ConfigError("this model has no vocabulary before it is trained; name a run with --run.")
            self.data_state = {"alphabet": asdict(alphabet), "network": source.describe()}
        return self.data_state

    @property
    def alphabet(self) -> Alphabet:
        known = self._known()["alphabet"]
        return Alphabet(tuple(known["symbols"]), known["blank"], known["delimiter"])

    @property
    def source(self) -> ctc.Network:
        """How the network is built, fed and saved."""
        if "_source" not in vars(self):
            load = self.pretrained is not None and not self.restored
            self._source = ctc.find(self.pretrained or "") if load else ctc.restore(self._known()["network"])
        return self._source

    def configure_model(self) -> None:
        if hasattr(self, "network"):
            return
        load = self.pretrained is not None and not self.restored
        with streams.seeded(self.seed, "initial weights"):
            masks = self.augmentation.time_masks > 0
            self.network = self.source.build(self.alphabet, load, self.dropout, self.freeze_part, masks)
        if self.gradient_checkpointing:
            self.source.checkpoint_activations(self.network)
        self.train(self.training)

    # Batches ----------------------------------------------------------------------------------------------------

    def processor(self, split: Split) -> Processor:
        source = self.source
        if split == "predict":
            return LongRecordings(source.inputs.rate)
        vary = self.augmentation if split == "train" else None
        return CTCProcessor(self.alphabet, source.inputs, self.transcript, source.frames, self.max_seconds, vary)

    def example_batch(self, n: int) -> Batch:
        inputs = self.source.inputs
        length = inputs.frames(round(self.max_seconds * inputs.rate))
        features = inputs(torch.randn(round(self.max_seconds * inputs.rate), generator=streams.generator("x")).numpy())
        letters = self.source.frames(length)  # no transcript with a path has more
        numbers = sorted(self.alphabet.numbers.values())
        on_waveforms = self.augmentation.masks and isinstance(inputs, Waveform)
        return {
            "features": features.expand(n, *features.shape).contiguous(),
            "length": torch.full((n,), length),
            "targets": torch.tensor(numbers)[torch.arange(letters) % len(numbers)].repeat(n, 1),
            "target_length": torch.full((n,), letters if len(numbers) > 1 else 1),
            **({"masked": torch.zeros(n, letters, dtype=torch.bool)} if on_waveforms else {}),
            "text": [""] * n,
            "name": [""] * n,
            "seconds": [self.max_seconds] * n,
        }

    def trim(self, piece: Batch) -> Batch:
        """Without what only longer recordings and transcripts of other pieces need."""
        longest = {"features": "length", "targets": "target_length"}
        sizes = {x: int(piece[n].max()) for x, n in longest.items() if n in piece}
        if "masked" in piece:
            sizes["masked"] = self.source.frames(sizes["features"])
        return {**piece, **{name: piece[name][:, :size].contiguous() for name, size in sizes.items()}}

    def cheaper(self) -> list[str]:
        return [*super().cheaper(), f"a smaller model.max_seconds (now {self.max_seconds:g})"]

    def show_loss_mask(self, item: Item) -> str:
        said = self.alphabet.decode(item["targets"].tolist())
        return f"{item['name']}: {item['seconds']:.1f} s, {len(item['targets'])} letters: {said}"

    def captions(self, batch: Batch) -> list[str]:
        return [
            self.show_loss_mask({name: batch[name][i] for name in ("name", "seconds")} | {"targets": targets[:length]})
            for i, (targets, length) in enumerate(zip(batch["targets"], batch["target_length"], strict=True))
        ]

    # What is computed -------------------------------------------------------------------------------------------

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[B, F, V], and how many of the frames are real, [B]."""
        return self.source.logits(self.network, batch["features"], batch["length"], batch.get("masked"))

    def loss(self, batch: Batch) -> Loss:
        logits, frames = self.logits(batch)
        return self._loss(logits, frames, batch)

    def _loss(self, logits: Tensor, frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return ctc.summed_loss(logits, frames, batch["targets"], batch["target_length"], self.alphabet.blank)

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._scores = Scores(self.language)

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._scores = Scores(self.language)

    def evaluate(self, batch: Batch) -> Loss:
        with self._scores.timed(batch["seconds"]):
            logits, frames = self.logits(batch)
            rows = [row[:n] for row, n in zip(logits.argmax(-1).tolist(), frames.tolist(), strict=True)]
            texts = [self.alphabet.decode(self.alphabet.collapse(row)) for row in rows]
        blanks = sum(row.count(self.alphabet.blank) for row in rows)
        return {
            "loss": self._loss(logits, frames, batch),
            "blank_share": (torch.tensor(float(blanks)), frames.sum()),
            "errors": self._scores.add(batch, texts),
        }

    def compute_metrics(self, means: dict[str, Any], counts: dict[str, float]) -> dict[str, float]:
        if means["blank_share"] > _SILENT:
            print(
                "all frames are blank so far: the network writes nothing. It is usual in the first hundreds of steps. "
                "If it stays so, train longer, with a longer warm-up or another learning rate."
            )
        rates = self._scores.rates(means["errors"], counts["errors"])
        return {"loss": means["loss"], **rates, "blank_share": means["blank_share"], "utterances": counts["errors"]}

    def eval_settings(self, split: Split) -> dict[str, Any]:
        return {"decoding": "greedy", **self._scores.settings(split)}

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self._scores.worst.merge(ranks.gather(self._scores.worst.found))

    def write_test_report(self, folder: Path) -> list[Path]:
        """The utterances with most wrong words, as text and as a page in colours."""
        return report.worst(self._scores.worst.ranked(), self._scores.normalise, folder)

    # Transcribing -----------------------------------------------------------------------------------------------

    def predict_batch(self, batch: Batch) -> list[dict[str, Any]]:
        found = []
        for name, start, waveform in zip(batch["name"], batch["start"], batch["waveform"], strict=True):
            probabilities, seconds_per_frame = self._heard(waveform)
            words = ctc_times.words(probabilities, self.alphabet, seconds_per_frame)
            words = [replace(word, start=start + word.start, end=start + word.end) for word in words]
            segments = [windows.segment(line, self.word_times) for line in windows.lines(words)]
            found.append({"path": name, "text": " ".join(word.text for word in words), "segments": segments})
        return found

    def _heard(self, waveform: np.ndarray) -> tuple[Tensor, float]:
        """Logarithms of probabilities [F, V] of a recording of any length, and how many seconds a frame is."""
        inputs, step = self.source.inputs, self.source.step
        parts = windows.overlapping(len(waveform), round(self.max_seconds * inputs.rate), step)
        kept = []
        for first in range(0, len(parts), _AT_ONCE):
            some = parts[first : first + _AT_ONCE]
            features = [inputs(waveform[part.start : part.end]) for part in some]
            batch = {
                "features": pad_sequence(features, batch_first=True),
                "length": torch.tensor([*map(len, features)]),
            }
            logits, frames = self.logits(self.to_device(batch))
            for part, row, count in zip(some, logits.float().log_softmax(-1).cpu(), frames.tolist(), strict=True):
                begin = (part.keep_from - part.start) // step
                end = count if part is parts[-1] else (part.keep_to - part.start) // step
                kept.append(row[begin:end])
        return torch.cat(kept), step / inputs.rate

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
        logits, frames = self.logits(self.to_device(self.processor("validation").collate(some)))
        rows = [row[:n] for row, n in zip(logits.argmax(-1).tolist(), frames.tolist(), strict=True)]
        heard = [self.alphabet.decode(self.alphabet.collapse(row)) for row in rows]
        return [f"said:  {item['text']}\nheard: {text}" for item, text in zip(some, heard, strict=True)]

    def save_model(self, folder: Path) -> None:
        self.source.save(self.network, folder, self.alphabet)
