"""TextData: documents, prompts with completions, and conversations, from files, folders, the hub …"""

from dataclasses import replace
from functools import cache, cached_property
from itertools import islice
from typing import Any, ClassVar, Literal

import datasets
import numpy as np

from zoo import streams
from zoo.data import text_files, text_sources
from zoo.data.text_files import Reading
from zoo.data.text_sources import Wanted
from zoo.data.text_tables import Facts, Samples
from zoo.datamodule import DataModule
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.paths import follow, nearest_file
from zoo.samples import Split, TextSample

datasets.disable_progress_bars()
datasets.logging.set_verbosity_error()  # that a set comes from the cache is no warning

Documents = Literal["auto", "rows", "lines", "blank", "file"]
_FEW = 20
"""Below this many documents a split by document would be a matter of luck: it goes through each of them instead."""


class TextData(DataModule):
    """Texts to train, validate and test on, and prompts to continue.

    A source is a file (.txt, .csv, .tsv, .jsonl, .json, .parquet; also with .gz or .zst), a folder of files of one of
    these kinds, a glob (`books/**/*.txt`), a data set of the Hugging Face hub (`owner/name`, or `owner/name:split`), or
    `python:pydoc_data.topics`, the English manual inside every Python. A folder or data set with splits of its own
    (train.jsonl and test.jsonl, say) keeps them.

    What a row is, its columns say: `messages` (role, content) or `conversations` (from, value) are a conversation;
    `prompt` and `completion`, or `instruction`, `input` and `output`, are a prompt with what is to follow; else
    `text` is a document.

    Args:
        train: source.
        validation: source; null for the source's own split, else for a part of train.
        test: source; null for the source's own split, else for the validation data.
        predict: prompts: a file (.txt, one a line; or a table with text, prompt or messages), or one prompt as it is.
        subset: of a hub data set (its "config").
        text_column: of a table or hub data set whose rows are documents; null to find out what they are.
        documents: what one document is: a row of the table, a line, a paragraph between blank lines, or the whole file.
            auto: rows of tables, and a .txt as one continuous text.
        join: between the rows, where documents is `file` and the source a table or hub data set.
        separator: of a .csv or .tsv; null for a comma or a tab.
        encoding: of files; null to detect it, and to say so where it is not UTF-8.
        limit: the first so many documents of the training data; null for all. Of a hub data set only these are
            read, over the network, once, and kept; its other splits are cut likewise.
        validation_fraction: of train, where there is no validation data. Whole documents if there are enough of them,
            else the end of each.
        show: print so many samples as the network sees them, with what carries loss marked.
    """

    shorthands: ClassVar[dict[str, str]] = {"prompt": "data.predict"}
    free_on_resume = ("data.train", "data.validation", "data.show")

    def __init__(
        self,
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        subset: str | None = None,
        text_column: str | None = None,
        documents: Documents = "auto",
        join: str = "\n",
        separator: str | None = None,
        encoding: str | None = None,
        limit: int | None = None,
        validation_fraction: float = 0.1,
        show: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 < validation_fraction < 1:
            raise ConfigError(f"data.validation_fraction is {validation_fraction}; between 0 and 1.")
        if limit is not None and limit < 1:
            raise ConfigError(f"data.limit is {limit}; a number of documents from 1, or null for all.")
        separator = "\t" if separator == "\\t" else separator
        if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
            raise ConfigError(f"data.separator is {separator!r}; one character, as ';' or \"\\t\".")
        self.sources: dict[Split, str | None] = {
            "train": train,
            "validation": validation,
            "test": test,
            "predict": predict,
        }
        reading = Reading(separator, encoding, documents if documents in ("lines", "blank") else "file")
        self.wanted = Wanted(reading, subset, text_column, documents == "file", join, limit)
        self.validation_fraction, self.show = validation_fraction, show
        self._read = cache(self._read_source)
        self._notes: dict[Split, str] = {}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.show and self.trainer.is_global_zero:
            samples = list(islice(self._texts("train"), self.show))
            for item in self._encoders["train"].encode(samples):
                print(self.task.marked(item))

    # Splits -----------------------------------------------------------------------------------------------------

    def samples(self, split: Split) -> Samples:
        if split == "predict":
            return self._prompts()
        found = self._texts(split)
        facts, origin = found.facts, self._notes.get(split, self.sources[split] or self.sources["train"])
        parts = [f"{len(found):,} {found.form.name}", f"{int(found.lengths.sum()):,} characters", *facts.notes]
        parts += [f"{facts.empty:,} empty rows left out"] if facts.empty else []
        self._notes[split] = f"{origin}: {', '.join(parts)}"
        return found

    def describe(self, split: Split) -> str:
        return self._notes.get(split, "")

    def _texts(self, split: Split) -> Samples:
        if split == "train":
            train = self._train()
            return train if self._own("validation") is not None else self._parts[0]
        if (own := self._own(split)) is not None:
            return own
        if split == "validation":
            self._notes[split] = self._how_divided()
            return self._parts[1]
        self._notes[split] = "no test data, so the validation data"
        return self._texts("validation")

    def _train(self) -> Samples:
        if (source := self.sources["train"]) is None:
            raise ConfigError("data.train is not set: a file, a folder, or a data set of the hub.")
        return _found(self._read(source, "train", "train"))

    def _own(self, split: Split) -> Samples | None:
        """Data of the split that is named, or that the training source has; None where train has to be divided."""
        if source := self.sources[split]:
            own = self._read(source, "train" if text_sources.names_split(source) else split, split)
            return own if own is not None else self._read(source, "train", split)
        train = self._train()
        return self._read(str(self.sources["train"]), split, "train") if train is not None else None

    @cached_property
    def _parts(self) -> tuple[Samples, Samples]:
        """Train and validation from the one source that there is."""
        samples, share = self._train(), self.validation_fraction
        is_text = samples.form.make is TextSample
        if len(samples) >= _FEW or not is_text:
            if len(samples) < 2:
                raise DataError(
                    f"{self.sources['train']} has a single sample, none for validation: set data.validation."
                )
            held = _held_out(samples.lengths, share, self.seed)
            kept = np.setdiff1d(np.arange(len(samples)), held)
            return samples.select(kept), samples.select(held).of(Facts())
        cuts = [(sample.text, _cut_at_line(sample.text, 1 - share)) for sample in samples]
        train = Samples.of_texts(text[:at] for text, at in cuts)
        return train.of(samples.facts), Samples.of_texts(text[at:] for text, at in cuts)

    def _how_divided(self) -> str:
        percent, train = f"{self.validation_fraction:.0%}", self._train()
        if len(train) >= _FEW or train.form.make is not TextSample:
            what = "documents" if train.form.make is TextSample else "samples"
            return f"{what} with {percent} of the text of {self.sources['train']}"
        return f"the last {percent} of each document of {self.sources['train']}"

    def _prompts(self) -> Samples:
        source = self.sources["predict"]
        if source is None:
            raise ConfigError("data.predict is not set: a file of prompts, or a prompt. zoo predict --prompt 'Once …'")
        path = follow(source)
        if text_files.kind(path) in text_files.KINDS and path.is_file():
            return _found(self._read(source, "train", "predict"))
        if text_files.kind(path) in text_files.KINDS and len(source.split()) == 1:
            raise MissingInputError(f"data.predict: {source}: no such file{nearest_file(path)}.")
        return Samples.of_texts([source])

    def _read_source(self, source: str, split: Split, key: Split) -> Samples | None:
        """What `source` has for the split.

        Args:
            key: the setting that names it.
        """
        wanted = self.wanted
        if key == "predict":
            reading = replace(wanted.reading, documents="lines")
            wanted = replace(wanted, reading=reading, joined=False, limit=None, prompts=True)
        elif not text_sources.is_hub(source) and (key, split) != ("train", "train"):
            wanted = replace(wanted, limit=None)
        try:
            return text_sources.read(source, split, wanted)
        except MissingInputError as error:
            raise MissingInputError(f"data.{key}: {error}") from error


def _found(samples: Samples | None) -> Samples:
    assert samples is not None  # every source has training data
    return samples


def _held_out(lengths: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Documents in random order, as long as they fit into `share` of the text; at least one."""
    room, held = share * int(lengths.sum()), []
    for i in streams.permutation(len(lengths), seed, "validation split").tolist():
        if lengths[i] <= room:
            held.append(i)
            room -= int(lengths[i])
    return np.sort(held or [int(lengths.argmin())])


def _cut_at_line(text: str, share: float) -> int:
    """Where the first `share` of the text ends, moved to the end of that line if there is one."""
    at = text.find("\n", int(len(text) * share))
    return at + 1 if 0 <= at < len(text) - 1 else int(len(text) * share)
