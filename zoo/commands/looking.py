"""What is in a folder of somebody's own: texts, tables, pictures in class folders, recordings."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import DataError

TEXTS = (".txt",)
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
PICTURES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".heic",
    ".heif",
    ".avif",
)
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test"}
_TEXT_COLUMNS = ("text", "content", "body", "sentence", "document", "article")
_CHAT_COLUMNS = ("messages", "conversations", "prompt", "instruction")
_IMAGE_COLUMNS = ("image", "path", "file_name", "file", "filename", "img")
_LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "target")
_SOUND_COLUMNS = ("audio", "wav", "recording", "path", "file", "file_name")
_SPOKEN_COLUMNS = ("transcript", "transcription", "text", "sentence")
_MOST = 1_000_000


@dataclass
class Found:
    """What was recognised.

    Args:
        kind: text, images, speech, or "" for nothing that zoo can use.
        source: for data.train.
        line: what was found, for people.
        size: characters of text, or pictures.
        smallest: pictures in the smallest class, or documents.
        settings: further ones of the data.
        dialogue: conversations, or prompts with completions.
    """

    kind: str
    source: str
    line: str
    size: int = 0
    smallest: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    dialogue: bool = False


def look(path: Path) -> Found:
    """Recognise a folder or file.

    Raises:
        DataError: nothing in it is known.
    """
    files = [path] if path.is_file() else sorted(_files(path))
    by_kind = {kind: [f for f in files if f.suffix.lower() in endings] for kind, endings in
               {"text": TEXTS, "table": TABLES, "sound": SOUNDS, "image": PICTURES}.items()}  # fmt: skip
    if by_kind["sound"]:
        return _speech(path, by_kind["sound"], by_kind["text"] + by_kind["table"])
    if tables := [found for table in by_kind["table"][:1] if (found := _labelled_pictures(table))]:
        return tables[0]
    if len(by_kind["image"]) > len(by_kind["text"]) + len(by_kind["table"]):
        return _pictures(path, by_kind["image"])
    if by_kind["table"] and len(by_kind["table"]) >= len(by_kind["text"]):
        return _tables(path, by_kind["table"])
    if by_kind["text"]:
        return _texts(path, by_kind["text"])
    seen = Counter(f.suffix.lower() or "no ending" for f in files).most_common(4)
    held = ", ".join(f"{count} {suffix}" for suffix, count in seen) or "no file"
    raise DataError(
        f"{path} holds {held}; expected texts (.txt), tables ({', '.join(TABLES)}), or pictures in a folder per class."
    )


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and (count := count + 1) <= _MOST:
                yield Path(here) / name


def _texts(path: Path, files: list[Path]) -> Found:
    size = sum(file.stat().st_size for file in files)
    if not size:
        raise DataError(f"{path}: every text in it is empty.")
    source = files[0] if len(files) == 1 else path
    return Found(
        "text", source.as_posix(), f"{path}: {_count(len(files), 'text')}, {size:,} characters or so", size, len(files)
    )


def _tables(path: Path, files: list[Path]) -> Found:
    columns, example = head(files[0])
    texts = [name for name in _TEXT_COLUMNS if name in columns]
    size = sum(file.stat().st_size for file in files)
    source = files[0] if len(files) == 1 else path
    what = f"{path}: {_count(len(files), 'table')} with columns {', '.join(columns)}; {size:,} bytes"
    if any(name in columns for name in _CHAT_COLUMNS):
        return Found("text", source.as_posix(), what, size, dialogue=True)
    column = texts[0] if texts else max(columns, key=lambda name: len(str(example.get(name) or "")), default="")
    if not column:
        raise DataError(f"{files[0]} has no columns; its first line should name them.")
    settings = {} if column == "text" else {"text_column": column}
    return Found("text", source.as_posix(), f"{what}; the text is in {column}", size, 0, settings)


def _labelled_pictures(table: Path) -> Found | None:
    """A table of paths of pictures with a label."""
    columns, example = head(table)
    image = next((name for name in _IMAGE_COLUMNS if name in columns), None)
    label = next((name for name in _LABEL_COLUMNS if name in columns), None)
    if not image or not label or Path(str(example.get(image))).suffix.lower() not in PICTURES:
        return None
    with open(table, "rb") as file:
        rows = sum(1 for _ in file) - (table.suffix in (".csv", ".tsv"))
    line = f"{table}: {_count(rows, 'picture')} with their {label}"
    return Found("images", table.as_posix(), line, rows, rows, {} if label == "label" else {"label_column": label})


def head(table: Path) -> tuple[list[str], dict[str, object]]:
    """Columns and first row of a table, without reading more of it than that."""
    try:
        if table.suffix == ".parquet":
            import pyarrow.parquet as pq

            first = next(pq.ParquetFile(table).iter_batches(1)).to_pylist()[0]
            return [*first], first
        with open(table, encoding="utf-8-sig", newline="") as file:
            if table.suffix in (".csv", ".tsv"):
                reader = csv.DictReader(file, delimiter="\t" if table.suffix == ".tsv" else ",")
                return [*(reader.fieldnames or [])], next(reader, {})
            text = file.readline() if table.suffix == ".jsonl" else file.read(_MOST)
        row = json.loads(text)
        row = row[0] if isinstance(row, list) else row
        return ([*row], row) if isinstance(row, dict) else ([], {})
    except (OSError, ValueError, StopIteration, csv.Error) as error:
        raise DataError(f"{table} cannot be read as {table.suffix}: {error}.") from error


def _pictures(path: Path, files: list[Path]) -> Found:
    inner = {file.relative_to(path).parts[:-1] for file in files} if path.is_dir() else set()
    classes = Counter(parts[-1] for file in files if (parts := _class_parts(file, path)))
    if len(classes) < 2:
        where = f"all in {path}" if not inner - {()} else "in one class"
        raise DataError(
            f"{path}: {_count(len(files), 'picture')}, {where}; to tell them apart, zoo needs a folder per class "
            f"({path}/cats, {path}/dogs …), or a table with columns path and label."
        )
    most = ", ".join(f"{name} {count:,}" for name, count in classes.most_common(6)) + (" …" if len(classes) > 6 else "")
    line = f"{path}: {_count(len(files), 'picture')} in {len(classes)} classes ({most})"
    return Found("images", path.as_posix(), line, len(files), min(classes.values()))


def _class_parts(file: Path, folder: Path) -> tuple[str, ...]:
    """The folders between, without that of the split."""
    parts = file.relative_to(folder).parts[:-1]
    return parts[1:] if parts and parts[0].lower() in _SPLITS else parts


def _speech(path: Path, sounds: list[Path], others: list[Path]) -> Found:
    beside = {file.with_suffix("") for file in others}
    spoken = sum(sound.with_suffix("") in beside for sound in sounds)
    if not spoken:
        for table in others:
            if table.suffix in TABLES:
                columns, _ = head(table)
                if any(n in columns for n in _SOUND_COLUMNS) and any(n in columns for n in _SPOKEN_COLUMNS):
                    spoken = len(sounds)
            elif table.name.endswith(".trans.txt"):
                spoken += sum(1 for line in table.read_text("utf-8", "replace").splitlines() if line.strip())
    how = f"{spoken:,} of them with a transcript" if spoken else "none with a transcript"
    line = f"{path}: {_count(len(sounds), 'recording')}, {how}"
    no_task = "zoo has no task for speech yet, so there is no config to write."
    return Found("speech", path.as_posix(), f"{line}; {no_task}", len(sounds))


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
