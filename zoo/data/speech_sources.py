"""Where recordings come from: folders with tables, texts or subtitles beside them, LibriSpeech, Common Voice, the hub.

`read` finds out which of these a source is. Rows of tables are read as every modality reads them.
"""

import glob
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zoo.audio import columns as column_names
from zoo.audio import subtitles
from zoo.audio.reading import SUFFIXES
from zoo.errors import ConfigError, DataError
from zoo.files import cache, encodings, endings, forms, sources, trust
from zoo.files.forms import Form, Found, RowError
from zoo.files.paths import follow, printable
from zoo.files.sources import NAMES, Columns, Wanted
from zoo.files.tables import Reading
from zoo.samples import SpeechSample, Split

_SEGMENTS, _START, _END = "segments", "start", "end"


@dataclass(frozen=True)
class Asked:
    """What the settings say of a source.

    Args:
        audio_column: None for the one that is called audio, or path … Or where the files are, with columns in braces.
        text_column: None for the one that is called text, or transcription …
        group_column: of what must not be both in training and in validation data, speakers say; None for none.
        subset: of a hub data set (its "config").
        needs_text: whether recordings without transcripts are of no use.
    """

    reading: Reading
    audio_column: str | None = None
    text_column: str | None = None
    group_column: str | None = None
    subset: str | None = None
    needs_text: bool = True


def read(source: str, split: Split, asked: Asked) -> Found | None:
    """The recordings of a source for the split, in a fixed order; None where it has other splits, but not this one.

    Raises:
        MissingInputError: there is no such file, folder or data set.
        DataError: it has no recordings, or cannot be read.
    """
    path, notes = follow(source), list[str]()
    if source.startswith("python:"):
        return Found(_python(source.removeprefix("python:"), asked)) if split == "train" else None
    if path.is_dir():
        return _folder(path, split, asked, notes)
    if path.suffix.lower() in SUFFIXES and (path.exists() or glob.has_magic(source)):
        found = sources.matching(source, notes) if glob.has_magic(source) and not path.exists() else [path]
        return Found(_recordings(path.parent, found, asked), notes) if split == "train" else None
    found_ = sources.read(source, split, _wanted(asked))
    return None if found_ is None else replace(found_, samples=_samples(found_, f"{source} ({split})"))


# Tables and the hub ---------------------------------------------------------------------------------------------


def _wanted(asked: Asked) -> Wanted:
    how = replace(asked.reading, documents="lines")
    return Wanted(lambda found: _form(found, asked), "recordings", how, asked.subset, None, tuple(SUFFIXES))


def look(path: Path, settings: Mapping[str, Any]) -> None:
    """What `SpeechData` with these settings would refuse of a table, without torch: see `sources.look`."""
    columns: dict[str, Any] = {name: settings.get(name) for name in ("audio_column", "text_column", "group_column")}
    found = sources.look(path, _wanted(Asked(sources.reading_of(settings, "lines"), **columns)))
    sources.refuse_nowhere(path, [sample.audio for sample in _samples(found, "")] if found else [], "recordings")


def _form(columns: Columns | None, asked: Asked) -> Form | str:
    if columns is None:
        paths = pa.schema([("audio", pa.large_string())])
        return Form(
            "recordings", ("text",), paths, lambda row: tuple(filter(None, [row["text"].strip()])), SpeechSample
        )
    parts = forms.in_braces(asked.audio_column)
    named: dict[str, list[Any]] = {"text_column": [asked.text_column], "audio_column": parts or [asked.audio_column]}
    named["group_column"] = [asked.group_column]
    for setting, name in ((setting, name) for setting, names in named.items() for name in names):
        if name is not None and name not in columns:
            return f"has no column '{name}' (columns: {', '.join(columns)}). Set data.{setting} to one of them."
    audio = asked.audio_column or next((name for name in column_names.AUDIO if name in columns), None)
    text = asked.text_column or next((name for name in column_names.TEXT if name in columns), None)
    if audio is None:
        expected = f"columns: {', '.join(columns)}; expected one of {', '.join(column_names.AUDIO)}"
        return f"has no column with a recording ({expected}). Set data.audio_column to the one that holds it."
    if text is None and _SEGMENTS not in columns and asked.needs_text:
        expected = f"columns: {', '.join(columns)}; expected one of {', '.join(column_names.TEXT)}"
        return f"has no column with transcripts ({expected}). Set data.text_column to the one that holds them."
    return _form_of(columns, audio, parts, text, asked.group_column)


def _form_of(columns: Columns, audio: str, parts: list[str], text: str | None, group: str | None) -> Form:
    kind = None if parts else columns[audio]
    is_inside = forms.is_medium(kind)
    timed = [_START, _END] if {_START, _END} <= columns.keys() else []
    segments = [_SEGMENTS] if _SEGMENTS in columns else []
    others = {"text": text, "group": group, **{name: name for name in (*timed, *segments)}}
    fields = {field: name for field, name in others.items() if name is not None}
    stored = [pa.field("audio", forms.MEDIUM if is_inside else pa.large_string())]
    stored += [pa.field(field, _stored_type(field, columns[name])) for field, name in fields.items()]

    def take(row: dict[str, Any]) -> tuple[Any, ...]:
        if is_inside:
            found: Any = forms.media(row, audio)
        else:
            found = forms.filled(row, audio) if parts else forms.path_in(row, audio)
        return () if found is None else (found, *(_cell(row, field, name) for field, name in fields.items()))

    name = f"recordings at {audio}" if parts else "recordings"
    as_it_is = not parts and not segments and not (timed and not is_inside)
    return Form(name, (*(parts or [audio]), *fields.values()), pa.schema(stored), take, SpeechSample, plain=as_it_is)


def _stored_type(field: str, found: pa.DataType | None) -> pa.DataType:
    if field in (_START, _END):
        return pa.float64()
    is_number = found is not None and pa.types.is_integer(found)
    return found if field == "group" and is_number else pa.large_string()


def _cell(row: dict[str, Any], field: str, name: str) -> Any:
    """A cell as it is stored.

    Raises:
        RowError: it is something else.
    """
    value = row.get(name)
    if field in (_START, _END):
        if value in (None, ""):
            return None
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise RowError(f"has {str(value)[:40]!r} for '{name}', which is no number of seconds")
        return seconds
    if field == _SEGMENTS:
        return None if value in (None, "") else value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, (dict, list)):
        raise RowError(f"has {str(value)[:40]} for '{name}', which is no text")
    return value if value is None or (isinstance(value, int) and field == "group") else str(value)


def _samples(found: Found, name: str) -> list[SpeechSample]:
    form, columns = found.samples.form, found.samples.columns
    count = len(columns[0])
    rows = range(count) if found.samples.indices is None else found.samples.indices.tolist()
    held = {field: column.to_pylist() for field, column in zip(form.stored.names[1:], columns[1:], strict=True)}

    def rest(i: int) -> dict[str, Any]:
        value = {field: column[i] for field, column in held.items()}
        times = _segments(value[_SEGMENTS], f"{name} row {i + 1}") if value.get(_SEGMENTS) else None
        said = _spoken(value.get("text")) or (subtitles.text_of(times) if times else None)
        group = value.get("group")
        start = value.get(_START) or 0.0
        return {"text": said, "start": start, "end": value.get(_END), "times": times,
                "speaker": None if group is None else str(group)}  # fmt: skip

    if not pa.types.is_struct(columns[0].type):
        paths, files = columns[0].to_pylist(), np.repeat(np.arange(len(found.counts)), found.counts).tolist()
        firsts = np.cumsum([0, *found.counts]).tolist()
        bases = [_base(path.parent, paths[firsts[i]]) for i, path in enumerate(found.files) if found.counts[i : i + 1]]
        return [SpeechSample(bases[files[i]] / paths[i] if files else Path(paths[i]), **rest(i)) for i in rows]
    column = "audio" if isinstance(found.table, cache.Table) else form.columns[0]
    key = str(getattr(found.table, "fingerprint", None) or getattr(found.table, "path", None) or "")
    return [SpeechSample(forms.Cell(found.table, column, i, key), name=f"{name}#{i}", **rest(i)) for i in rows]


def _spoken(text: Any) -> str | None:
    """A transcript on one line; None for nothing."""
    return " ".join(str(text).split()) or None if text is not None else None


def _segments(said: str, where: str) -> subtitles.Times:
    try:
        found = json.loads(said)
        return subtitles.of_segments(found if isinstance(found, list) else [found])
    except (ValueError, RecursionError) as error:
        raise DataError(printable(f"{where} {error}.")) from error


def _base(folder: Path, first: str) -> Path:
    """Where the paths of a table begin: at its own folder, or, as Common Voice has it, at clips/ in it."""
    is_inside = not os.path.lexists(folder / first) and os.path.lexists(folder / "clips" / first)
    return folder / "clips" if is_inside else folder


def _python(name: str, asked: Asked) -> list[SpeechSample]:
    """What a function returns, of zoo's synthesis or of the user's own: a list of samples."""
    found = trust.call_source(name, "zoo.audio.synthesis.")
    if not isinstance(found, list) or not all(isinstance(sample, SpeechSample) for sample in found):
        raise ConfigError(f"data: python:{name} returns no list of zoo.SpeechSample.")
    if asked.group_column not in (None, "speaker"):
        raise ConfigError(f"python:{name} has no '{asked.group_column}'. data.group_column may be speaker.")
    return found if asked.group_column else [replace(sample, speaker=None) for sample in found]


# Folders --------------------------------------------------------------------------------------------------------


def _folder(folder: Path, split: Split, asked: Asked, notes: list[str]) -> Found | None:
    paths = sources.walk(folder, notes)
    recordings = [path for path in paths if path.suffix.lower() in SUFFIXES]
    beside = {path.with_suffix("") for path in recordings}
    tables = [path for path in paths if endings.kind(path) in endings.TABLES and path.with_suffix("") not in beside]
    tables = [path for path in tables if path.stem == "metadata"] or tables
    if tables:
        found = _by_split(folder, tables, notes).get(split)
        if not found:
            return None
        read_ = sources.read_files(found, _wanted(asked), notes)
        return replace(read_, samples=_samples(read_, f"{folder} ({split})"))
    if lists := [path for path in paths if path.name.endswith(".trans.txt")]:
        found = _by_split(folder, lists, notes).get(split)
        return Found(list(_librispeech(found, recordings, asked)), notes) if found else None
    if not recordings:
        raise DataError(f"{folder} has no recordings in it ({', '.join(sorted(SUFFIXES))}), and no table of them.")
    found = _by_split(folder, recordings, notes).get(split)
    return Found(_recordings(folder, found, asked), notes) if found else None


def _by_split(folder: Path, paths: list[Path], notes: list[str]) -> dict[Split, list[Path]]:
    """The paths by the split that the first part of their way says; all are for training where none is named so."""
    splits = {path: sources.split_of(path.relative_to(folder)) for path in paths}
    if "train" not in splits.values():
        return {"train": paths}
    if outside := [path for path in paths if splits[path] is None]:
        shown = ", ".join(printable(path.relative_to(folder)) for path in outside[:3])
        notes.append(f"not used: {shown}" + (f" and {len(outside) - 3:,} more" if len(outside) > 3 else ""))
    return {split: [path for path in paths if splits[path] == split] for split in ("train", "validation", "test")}


def _librispeech(lists: Sequence[Path], recordings: Iterable[Path], asked: Asked) -> Iterator[SpeechSample]:
    """LibriSpeech's layout: 84-121123.trans.txt, with a line "84-121123-0001 GO DO YOU HEAR" for each recording."""
    if asked.group_column not in (None, "speaker"):
        raise DataError(f"LibriSpeech has no column '{asked.group_column}'. data.group_column may be speaker.")
    known = {(path.parent, path.stem): path for path in recordings}
    for path in lists:
        for number, line in enumerate(_text(path, asked).splitlines(), 1):
            name, _, said = line.strip().partition(" ")
            if not name:
                continue
            if (path.parent, name) not in known:
                raise DataError(printable(f"{path} line {number}: there is no recording {name} beside it."))
            group = name.split("-")[0] if asked.group_column else None
            yield SpeechSample(known[path.parent, name], _spoken(said), speaker=group)


def _recordings(folder: Path, paths: Sequence[Path], asked: Asked) -> list[SpeechSample]:
    """Recordings with what lies beside each: its transcript as .txt, or with times as .srt, .vtt or .json."""
    if asked.group_column not in (None, "folder"):
        raise DataError(
            f"{folder} has no table with a column '{asked.group_column}'. For recordings in folders, "
            f"data.group_column may be folder: the first one below {folder}."
        )
    depth = len(folder.parts)

    def group(path: Path) -> str | None:
        inside = [part for part in path.parts[depth:-1] if part.lower() not in NAMES]
        return (inside[0] if inside else "") if asked.group_column else None

    return [replace(_with_transcript(path, asked), speaker=group(path)) for path in paths]


def _with_transcript(path: Path, asked: Asked) -> SpeechSample:
    for ending in subtitles.ENDINGS:
        if (beside := path.with_suffix(ending)).is_file():
            times = _times(beside, asked)
            return SpeechSample(path, subtitles.text_of(times), times=times)
    beside = path.with_suffix(".txt")
    return SpeechSample(path, _spoken(_text(beside, asked)) if beside.is_file() else None)


def _times(path: Path, asked: Asked) -> subtitles.Times:
    text = _text(path, asked)
    if path.suffix == ".json":
        try:
            text = json.loads(text)["segments"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(printable(f"{path}: expected Whisper's JSON, with a list of segments.")) from error
    try:
        return subtitles.parse(text) if isinstance(text, str) else subtitles.of_segments(text)
    except ValueError as error:
        raise DataError(printable(f"{path} {error}.")) from error


def _text(path: Path, asked: Asked) -> str:
    return path.read_text(encodings.find(path, asked.reading.encoding).name)
