"""TextData: documents, prompts with completions, and conversations, from files, folders, the hub …"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from zoo import streams
from zoo.constraints import NonNegativeInt, PositiveInt, checked
from zoo.data import python_texts, text_forms
from zoo.datamodule import DataModule, held_out_by_class
from zoo.errors import DataError, MissingInputError
from zoo.files import endings, sources
from zoo.files.forms import Found, Samples
from zoo.files.paths import follow
from zoo.rules import AtMostOne, Rule
from zoo.samples import ChatSample, CompletionSample, Split, TextSample

Documents = Literal["auto", "rows", "lines", "blank", "file"]
_CLASSES = 4
"""With more classes than these, only the largest and the smallest are shown."""
_FEW = 20
"""Below this many documents a split by document would be a matter of luck: it goes through each of them instead."""


@checked
class TextData(DataModule):
    """Texts to train, validate and test on, and prompts to continue.

    A source is a file (.txt, .csv, .tsv, .jsonl, .json, .parquet; also with .gz or .zst), a folder of files of one of
    these kinds, a glob (`books/**/*.txt`), a data set of the Hugging Face hub (`owner/name`, or `owner/name:split`), or
    `python:pydoc_data.topics`, the English manual inside every Python, or `python:babel.names`, names of countries,
    cities … in 25 languages, each with its language as class. A folder or data set with splits of its own
    (train.jsonl and test.jsonl, say) keeps them. Other texts (.md, .rst, .tex, .py) are read as .txt; in a folder, only
    where it has no .txt and no table.

    What a row is, its columns say: `messages` (role, content) or `conversations` (from, value) are a conversation, as
    are the texts of a `dialogue`, of user and assistant in turn;
    `prompt` and `completion`, or `instruction`, `input` and `output`, are a prompt with what is to follow; else
    `text` is a document. Prompts to predict are a file (.txt, one a line; or a table with text, prompt or messages), or
    one prompt as it is. Of train, validation_fraction are whole documents if there are enough of them, else the end of
    each.

    Args:
        text_column: column of a table or hub data set that holds the documents. null finds out what the rows are.
        prompt_column: column of the prompts, which carry no loss, if it is not called prompt.
        completion_column: column of the completions, which carry the loss, if it is not called completion.
        label_column: column with the class of a document, for tasks that predict one. null means none.
        documents: what one document is: a row of the table, a line, a paragraph between blank lines, or the whole file.
            auto takes each row of a table, and a .txt as one continuous text.
        join: text between the rows, where documents is `file` and the source is a table or hub data set.
        limit: how many training documents are used, from the first on. null takes all. Of a hub data set only these
            are downloaded, once, and its other splits are cut likewise.
        show: how many samples are printed as the network sees them. ⟦ ⟧ mark what carries loss.
    """

    sample_types = (TextSample, CompletionSample, ChatSample)
    looks = "zoo.data.text_forms"
    shorthands: ClassVar[dict[str, str]] = {"prompt": "data.predict"}
    rules: ClassVar[tuple[Rule, ...]] = (
        AtMostOne(("text_column", "prompt_column"), "one is for documents, the other for prompts with completions"),
        AtMostOne(("text_column", "completion_column"), "one is for documents, the other for prompts with completions"),
    )
    changeable_on_resume = ("data.train", "data.validation", "data.show")
    example_sources: ClassVar[dict[str, str]] = {
        "train": "a file, a folder, or a data set of the hub.",
        "predict": "a file of prompts, or a prompt. zoo predict --prompt 'Once …'",
    }

    def __init__(
        self,
        text_column: str | None = None,
        prompt_column: str | None = None,
        completion_column: str | None = None,
        label_column: str | None = None,
        documents: Documents = "auto",
        join: str = "\n",
        limit: PositiveInt | None = None,
        show: NonNegativeInt = 0,
        **kwargs: Any,
    ):
        super().__init__(limit=limit, **kwargs)
        self.names = text_forms.Names(text_column, prompt_column, completion_column, label_column)
        self.join = join if documents == "file" else None
        self.reading = replace(self.reading, documents=documents if documents in ("lines", "blank") else "file")
        self.show = show

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.show and self.trainer.is_global_zero:
            samples = list(islice(self._found("train")[0].samples, self.show))
            for item in self._processors["train"].encode(samples):
                print(self.task.show_loss_mask(item))

    # Sources ----------------------------------------------------------------------------------------------------

    def read(self, source: str, split: Split, setting: Split) -> Found | None:
        if source.startswith("python:"):
            return _of_python(source.removeprefix("python:")) if split == "train" else None
        limited = sources.is_hub(source) or setting == split == "train"
        return sources.read(source, split, self._wanted(self.limit if limited else None))

    def _wanted(self, limit: int | None, prompts: bool = False) -> sources.Wanted:
        reading = replace(self.reading, documents="lines") if prompts else self.reading
        return text_forms.wanted(self.names, reading, None if prompts else self.join, self.subset, limit, prompts)

    def to_predict(self, source: str) -> Found:
        path = follow(source)
        if endings.kind(path) in endings.KINDS and (path.exists() or len(source.split()) == 1):
            try:
                found = sources.read(source, "train", self._wanted(None, prompts=True))
            except MissingInputError as error:
                raise MissingInputError(f"data.predict: {error}") from error
            assert found is not None  # a file is training data
            return found
        return _of_texts([source])

    # Splits -----------------------------------------------------------------------------------------------------

    def divide(self, samples: Samples, shares: dict[Split, float]) -> tuple[dict[Split, Samples], str]:
        is_text = samples.form.make is TextSample
        if shares and is_text and len(samples) < _FEW and self.names.label is None:
            return _divided_inside(samples, shares), "the last {share} of each document"
        if shares and text_forms.LABEL in samples.form.stored.names:
            rows = held_out_by_class(samples.values(text_forms.LABEL), shares, self.seed)
            return {split: samples.select(rows[split]) for split in rows}, "{share} of each class"
        if shares and len(samples) <= len(shares):
            raise DataError(f"{self.sources['train']} has a single sample, none for validation: set data.validation.")
        kept, parts = np.arange(len(samples)), {}
        for split, share in shares.items():
            held = _held_out(samples.lengths, kept, share, self.seed, f"{split} split")
            kept, parts[split] = np.setdiff1d(kept, held), samples.select(held)
        what = "documents" if is_text else "samples"
        return {**parts, "train": samples.select(kept) if shares else samples}, what + " with {share} of the text"

    def summary(self, samples: Samples) -> str:
        counted = f"{len(samples):,} {samples.form.name}, {int(samples.lengths.sum()):,} characters"
        if text_forms.LABEL not in samples.form.stored.names:
            return counted
        sizes = Counter(samples.values(text_forms.LABEL)).most_common()
        few = sizes if len(sizes) <= _CLASSES else [sizes[0], ("", 0), sizes[-1]]
        named = ", ".join(f"{label} {count:,}" if count else "…" for label, count in few)
        return f"{counted}, {len(sizes)} classes ({named})"


def _of_texts(texts: Iterable[str]) -> Found:
    kept = pa.chunked_array([[one for one in texts if one.strip()]], pa.large_string())
    return Found(Samples(text_forms.text("text"), [kept]))


def _of_python(module: str) -> Found:
    if module != python_texts.NAMES:
        return _of_texts(python_texts.texts(module))
    columns = zip(*python_texts.names(), strict=True)
    form = text_forms.text("text", text_forms.LABEL)
    return Found(Samples(form, [pa.chunked_array([column], pa.large_string()) for column in columns]))


def _held_out(lengths: np.ndarray, among: np.ndarray, share: float, seed: int, name: str) -> np.ndarray:
    """Of these documents some in random order, as long as they fit into `share` of the whole text; at least one."""
    room, held = share * int(lengths.sum()), []
    for i in among[streams.permutation(len(among), seed, name)].tolist():
        if lengths[i] <= room:
            held.append(i)
            room -= int(lengths[i])
    return np.sort(held or [int(among[lengths[among].argmin()])])


def _divided_inside(samples: Samples, shares: dict[Split, float]) -> dict[Split, Samples]:
    """The beginning of each document, and of its end as much as each share says."""
    parts: dict[Split, list[str]] = {"train": [], **{split: [] for split in shares}}
    for sample in samples:
        start, taken = 0, 0.0
        for split, last in zip(parts, [*[False] * len(shares), True], strict=True):
            taken += shares.get(split, 1 - sum(shares.values()))
            stop = len(sample.text) if last else max(start, _line_end(sample.text, taken))
            parts[split].append(sample.text[start:stop])
            start = stop
    return {split: _of_texts(texts).samples for split, texts in parts.items()}


def _line_end(text: str, share: float) -> int:
    """Where the first `share` of the text ends, moved to the end of that line if there is one."""
    at = text.find("\n", int(len(text) * share))
    return at + 1 if 0 <= at < len(text) - 1 else int(len(text) * share)
