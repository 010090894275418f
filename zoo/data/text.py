"""TextData: documents from a text file, a table, the hub, or what every Python carries."""

import importlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import datasets

from zoo import hub, streams
from zoo.datamodule import DataModule
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.paths import follow, nearest_file
from zoo.samples import Split, TextSample

datasets.disable_progress_bars()
datasets.logging.set_verbosity_error()  # that a set comes from the cache is no warning

Documents = Literal["auto", "rows", "lines", "blank", "file"]
_READERS = {".txt": "text", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
_SAMPLED_BY = {"file": "document", "lines": "line", "blank": "paragraph"}
_HUB_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "dev"), "test": ("test",)}
_FEW = 20
"""Below this many documents a split by document would be a matter of luck: it goes through each of them instead."""


class TextData(DataModule):
    """Texts to train, validate and test on, and prompts to continue.

    A source is a file (.txt, .csv, .tsv, .jsonl, .json, .parquet), a data set of the Hugging Face hub, or
    `python:pydoc_data.topics`, the English manual inside every Python.

    Args:
        train: source.
        validation: source; null for the hub's own split, else for a part of train.
        test: source; null for the hub's own split, else for the validation data.
        predict: a file of prompts (.txt, one a line; .jsonl with the text column), or one prompt as it is.
        subset: of a hub data set (its "config").
        text_column: of a table or hub data set.
        documents: what one document is: a row of the table, a line, a paragraph between blank lines, or the whole file.
            auto: rows of tables, and a .txt as one continuous text.
        join: between the rows, where documents is `file` and the source a table or hub data set.
        validation_fraction: of train, where there is no validation data. Whole documents if there are enough of them,
            else the end of each.
    """

    shorthands: ClassVar[dict[str, str]] = {"prompt": "data.predict"}
    free_on_resume = ("data.train", "data.validation")

    def __init__(
        self,
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        subset: str | None = None,
        text_column: str = "text",
        documents: Documents = "auto",
        join: str = "\n",
        validation_fraction: float = 0.1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 < validation_fraction < 1:
            raise ConfigError(f"data.validation_fraction is {validation_fraction}; between 0 and 1.")
        self.sources: dict[Split, str | None] = {
            "train": train,
            "validation": validation,
            "test": test,
            "predict": predict,
        }
        self.subset, self.text_column, self.documents, self.join = subset, text_column, documents, join
        self.validation_fraction = validation_fraction
        self._notes: dict[Split, str] = {}

    # Splits -----------------------------------------------------------------------------------------------------

    def samples(self, split: Split) -> Sequence[TextSample] | None:
        if split == "predict":
            return self._prompts()
        texts = self._texts(split)
        characters = sum(len(sample.text) for sample in texts)
        origin = self._notes.get(split, self.sources[split] or self.sources["train"])
        self._notes[split] = f"{origin}: {len(texts):,} documents, {characters:,} characters"
        return texts

    def describe(self, split: Split) -> str:
        return self._notes.get(split, "")

    def _texts(self, split: Split) -> Sequence[TextSample]:
        if source := self.sources[split]:
            if split == "train" and self._own_split("validation") is None:
                return self._parts[0]
            return self._read(source, split)
        if (own := self._own_split(split)) is not None:
            return own
        if split == "validation":
            return self._parts[1]
        self._notes[split] = "no test data, so the validation data"
        return self._texts("validation")

    def _own_split(self, split: Split) -> Sequence[TextSample] | None:
        """Data of the split that is named, or that the hub's data set has; None where train has to be divided."""
        if source := self.sources[split]:
            return self._read(source, split)
        train = self.sources["train"]
        if train is None:
            raise ConfigError("data.train is not set: a file, or a data set of the hub.")
        return self._hub_split(train, split) if _is_hub(train) else None

    @cached_property
    def _parts(self) -> tuple[Sequence[TextSample], Sequence[TextSample]]:
        """Train and validation from the one source that there is."""
        texts, share = self._read(self.sources["train"] or "", "train"), self.validation_fraction
        percent = f"{share:.0%}"
        if len(texts) >= _FEW:
            held = _held_out([len(sample.text) for sample in texts], share, self.seed)
            kept = sorted(set(range(len(texts))) - set(held))
            self._notes["validation"] = f"documents with {percent} of the text of {self.sources['train']}"
            return _Texts(texts, kept), _Texts(texts, held)
        self._notes["validation"] = f"the last {percent} of each document of {self.sources['train']}"
        cuts = [(sample.text, _cut_at_line(sample.text, 1 - share)) for sample in texts]
        return [TextSample(text[:at]) for text, at in cuts], [TextSample(text[at:]) for text, at in cuts if text[at:]]

    def _prompts(self) -> Sequence[TextSample]:
        source = self.sources["predict"]
        if source is None:
            raise ConfigError("data.predict is not set: a file of prompts, or a prompt. zoo predict --prompt 'Once …'")
        path = follow(source)
        if path.suffix in _READERS and path.is_file():
            table = self._table(path, "lines" if path.suffix == ".txt" else "rows")
            return [sample for sample in self._column(table, source) if sample.text.strip()]
        if path.suffix in _READERS and len(source.split()) == 1:
            raise MissingInputError(f"data.predict: {source}: no such file{nearest_file(path)}.")
        return [TextSample(source)]

    # Reading ----------------------------------------------------------------------------------------------------

    def _read(self, source: str, split: Split) -> Sequence[TextSample]:
        """The documents of a source, empty ones left out."""
        if source.startswith("python:"):
            texts: Sequence[TextSample] = [TextSample(text) for text in _python_texts(source.removeprefix("python:"))]
        elif _is_hub(source):
            texts = self._hub_split(source, split) or []
        else:
            path = follow(source)
            if not path.is_file():
                raise MissingInputError(f"data.{split}: {source}: no such file{nearest_file(path)}.")
            if path.suffix not in _READERS:
                raise DataError(f"data.{split}: {source}: not one of {', '.join(_READERS)}.")
            whole = self.documents in ("auto", "file")
            documents = ("file" if whole else self.documents) if path.suffix == ".txt" else self.documents
            texts = self._column(self._table(path, documents), source)
            if path.suffix != ".txt":
                texts = self._joined(texts)
        kept = [i for i, sample in enumerate(texts) if sample.text.strip()]
        if not kept:
            raise DataError(f"data.{split}: {source} has no text in it.")
        if len(kept) == len(texts):
            return texts
        self._notes[split] = f"{source}, {len(texts) - len(kept):,} empty rows left out"
        return _Texts(texts, kept)

    def _table(self, path: Path, documents: str) -> datasets.Dataset:
        settings: dict[str, Any] = {}
        if path.suffix == ".txt":
            settings = {"sample_by": _SAMPLED_BY.get(documents, "document")}
        if path.suffix == ".tsv":
            settings = {"sep": "\t"}
        try:
            return datasets.load_dataset(_READERS[path.suffix], data_files=str(path), split="train", **settings)
        except Exception as error:
            raise DataError(f"{path} cannot be read: {_reason(error)}") from error

    def _hub_split(self, source: str, split: Split) -> Sequence[TextSample] | None:
        found = hub.load_dataset(source, self.subset)
        name = next((name for name in _HUB_SPLITS[split] if name in found), None)
        if name is None:
            return None
        return self._joined(self._column(found[name], f"{source} ({name})"))

    def _joined(self, texts: Sequence[TextSample]) -> Sequence[TextSample]:
        if self.documents != "file":
            return texts
        return [TextSample(self.join.join(sample.text for sample in texts))]

    def _column(self, table: datasets.Dataset, source: str) -> Sequence[TextSample]:
        if self.text_column not in table.column_names and source.endswith(".txt"):
            return _Column(table, "text")
        if self.text_column not in table.column_names:
            raise DataError(
                f"{source} has no column '{self.text_column}' (columns: {', '.join(table.column_names)}). "
                f"Set data.text_column to the one that holds the text."
            )
        return _Column(table, self.text_column)


class _Column(Sequence):
    """One column of a memory-mapped table, as samples."""

    def __init__(self, table: datasets.Dataset, column: str):
        self.table, self.column = table, column

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: Any) -> Any:
        return TextSample(self.table[index][self.column] or "")

    def __iter__(self) -> Iterator[TextSample]:
        for rows in self.table.iter(1000):
            yield from (TextSample(text or "") for text in rows[self.column])


class _Texts(Sequence):
    """Some of the samples, by index."""

    def __init__(self, texts: Sequence[TextSample], indices: list[int]):
        self.texts, self.indices = texts, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.texts[self.indices[index]]


def _is_hub(source: str) -> bool:
    """A name or owner/name that is no file here and has no file's ending."""
    path = follow(source)
    bare = source.count("/") <= 1 and not source.startswith((".", "/", "~", "python:"))
    return bare and path.suffix not in _READERS and not path.exists()


def _held_out(lengths: list[int], share: float, seed: int) -> list[int]:
    """Documents in random order, as long as they fit into `share` of the text; at least one."""
    room, held = share * sum(lengths), []
    for i in streams.permutation(len(lengths), seed, "validation split").tolist():
        if lengths[i] <= room:
            held.append(i)
            room -= lengths[i]
    return sorted(held) or [min(range(len(lengths)), key=lengths.__getitem__)]


def _cut_at_line(text: str, share: float) -> int:
    """Where the first `share` of the text ends, moved to the end of that line if there is one."""
    at = text.find("\n", int(len(text) * share))
    return at + 1 if 0 <= at < len(text) - 1 else int(len(text) * share)


def _python_texts(module: str) -> list[str]:
    try:
        topics = importlib.import_module(module).topics
    except (ImportError, AttributeError) as error:
        raise MissingInputError(f"data: python:{module}: no such texts in this Python ({error}).") from error
    return _without_repeats([topics[name] for name in sorted(topics)])


def _without_repeats(texts: list[str]) -> list[str]:
    """The texts whose lines are not nearly all in longer ones too, in their order.

    A third of the manual's topics are sections of others: held out, they would only ask what was learnt by heart.
    """
    seen: set[str] = set()
    kept = set()
    for i in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        lines = {line.strip() for line in texts[i].splitlines()}
        if len(lines - seen) > 0.1 * len(lines):
            kept.add(i)
            seen |= lines
    return [texts[i] for i in sorted(kept)]


def _reason(error: BaseException) -> str:
    """The first cause in a chain of a library's errors, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start}: {error.object[error.start]:#04x}). Save it as UTF-8."
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
