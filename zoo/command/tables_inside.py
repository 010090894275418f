"""Tables in a folder: what their columns hold, and so what a row is."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.audio import columns
from zoo.command import image_folders, recordings_inside
from zoo.command.found import NO_TASK, ORDER, Found, source, split_of
from zoo.command.inventory import IMAGES, SOUNDS, Entry, Inventory, count
from zoo.errors import DataError
from zoo.files import encodings, heads
from zoo.files.heads import Rows
from zoo.files.paths import printable

_OPENED, _CLASSES = 40, 8
_PROMPTS = ("prompt", "instruction", "question", "input", "query", "problem", "user", "source")
_COMPLETIONS = ("completion", "output", "answer", "response", "reply", "solution", "assistant", "target")
_TEXTS = ("text", "content", "body", "sentence", "document", "article", "story", "review", "message", "abstract")
_LABELS = ("label", "labels", "class", "category", "target", "fine_label", "sentiment", "topic", "intent", "species",
           "breed", "rating", "stars", "y")  # fmt: skip
_TURNS = ("dialogue", "dialog")
_DIALOGUES = (*_TURNS, "turns", "utterances", "chat", "conversation", "history")
_CHOICES = ({"chosen", "rejected"}, {"chosen_response", "rejected_response"})
_IMAGE_COLUMNS = ("image", "path", "file_name", "file", "filename", "img")
"""Those that zoo.ImageData looks for by itself."""


@dataclass
class _Verdict:
    """What the rows of a table are.

    Args:
        what: of one row, as "prompt with completion".
        sources: of the split, where the table's own path is not the source.
    """

    kind: str
    what: str
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refusal: str = ""
    sample: str = ""
    named: Sequence[Entry] = ()


def look(inventory: Inventory) -> list[Found]:
    """The tables, as one thing to train on for each form of rows."""
    tables = inventory.of("table")
    opened = sorted(tables, key=lambda entry: -entry.size)[:_OPENED] if len(tables) > _OPENED else tables
    groups: dict[Any, list[tuple[Entry, Rows, _Verdict]]] = {}
    refused: list[Found] = []
    for entry in opened:
        try:
            rows = heads.table(entry.path, entry.suffix)
            verdict = _judge(inventory, entry, rows)
        except DataError as error:
            refused.append(Found("table", entry.path.name, refusal=str(error).rstrip("."), entries=[entry]))
            continue
        if verdict.refusal:
            told = f"{printable(entry.path)}: {verdict.refusal}"
            refused.append(Found("table", verdict.what, refusal=told, entries=[entry]))
        else:
            same = (verdict.kind, entry.suffix, tuple(sorted(verdict.settings.items())), verdict.what)
            groups.setdefault(same, []).append((entry, rows, verdict))
    if len(groups) == 1 and len(tables) > len(opened):
        return [_group(inventory, group, tables) for group in groups.values()] + refused
    return [_group(inventory, group, [entry for entry, *_ in group]) for group in groups.values()] + refused


def _group(inventory: Inventory, group: list[tuple[Entry, Rows, _Verdict]], entries: list[Entry]) -> Found:
    """Tables of one form."""
    verdict = group[0][2]
    splits: dict[str, list[Entry]] = {}
    for entry in entries:
        splits.setdefault(next((s for part in entry.parts if (s := split_of(part))), ""), []).append(entry)
    if "train" not in splits:
        splits = {"train": entries}
    named = {split: source(inventory, found) for split, found in splits.items() if split}
    read = [rows for entry, rows, _ in group if entry in splits["train"]]
    number = sum(rows.count for rows in read) * len(splits["train"]) // len(read)
    about = "" if len(splits["train"]) == len(read) and all(rows.whole for rows in read) else "about "
    where = printable(entries[0].path.name) if len(entries) == 1 else count(len(splits["train"]), "table")
    what = f"{about}{number:,} {verdict.what} in {where}"
    refusal = "" if named["train"] else f"{what}: among other files; move these tables into a folder of their own"
    notes = list(verdict.notes)
    if len(splits) > 1:
        shown = [f"{split} {count(len(splits[split]), 'table')}" for split in ORDER if split in splits]
        notes.append(f"splits, by their names: {', '.join(shown)}")
    notes += [f"not used: {printable(entry.path.name)}" for entry in splits.get("", [])]
    sources = {split: where for split, where in named.items() if where}
    characters = sum(entry.size for entry in entries) if verdict.kind != "images" else number
    found = Found(verdict.kind, what, sources, dict(verdict.settings), notes, refusal, entries, verdict.named)
    found.size, found.sample = characters, verdict.sample
    if found.named and not refusal:
        if verdict.kind == "images":
            image_folders.open_some(found, found.named)
        else:
            recordings_inside.open_some(found, found.named, number)
    return found


# One table ------------------------------------------------------------------------------------------------------


def _judge(inventory: Inventory, entry: Entry, table: Rows) -> _Verdict:
    """What the rows are, by names and values of the columns."""
    if not table.rows:
        return _Verdict("", "rows", refusal="it has a header and no rows" if table.columns else "it is empty")
    if odd := _no_header(table):
        return _Verdict("", "rows", refusal=odd)
    kinds = {name: heads.kind_of(table.values(name)) for name in table.columns}
    verdict = _of_columns(inventory, entry, table, kinds)
    settings, notes = {}, [f"columns: {', '.join(printable(name) for name in table.columns)}"]
    if entry.suffix in (".csv", ".tsv") and table.separator != {".csv": ",", ".tsv": "\t"}[entry.suffix]:
        settings["separator"] = table.separator
        notes.append(f"separated by {table.separator!r}")
    if table.encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"read as {encodings.shown(table.encoding)}")
    verdict.settings, verdict.notes = {**settings, **verdict.settings}, [*notes, *verdict.notes]
    return verdict


def _no_header(table: Rows) -> str:
    """What to say where the first line of a separated table is a row."""
    if not table.separator:
        return ""
    odd = next((name for name in table.columns if heads.kind_of([name]) == "number" or len(name) > 80), None)
    if odd is not None:
        return f"its first line is a row ({printable(odd[:40])} …), and should name the columns: text, label, say"
    twice = next((name for name in table.columns if table.columns.count(name) > 1), None)
    return f"two of its columns are called {twice!r}" if twice else ""


def _of_columns(inventory: Inventory, entry: Entry, table: Rows, kinds: dict[str, str]) -> _Verdict:
    lower = {name.lower().strip(): name for name in table.columns}
    if conversation := _conversation(table, kinds, lower):
        return conversation
    if any(choices <= set(lower) for choices in _CHOICES):
        return _Verdict("", "preferences", refusal=NO_TASK["preferences"])
    label = _label(table, kinds, lower)
    if images := _images(inventory, entry, table, kinds):
        return _labelled_images(images, label, table)
    if recordings := _recordings(inventory, entry, table, kinds):
        return _spoken(recordings, table, lower)
    words = [name for name, kind in kinds.items() if kind in ("text", "word")]
    prompt = next((lower[name] for name in _PROMPTS if lower.get(name) in words), None)
    completion = next(
        (lower[name] for name in _COMPLETIONS if lower.get(name) in words and lower[name] != prompt), None
    )
    if prompt and completion and "text" in (kinds[prompt], kinds[completion]):
        return _completions(table, lower, prompt, completion)
    return _documents(table, kinds, lower, label)


def _label(table: Rows, kinds: dict[str, str], lower: dict[str, str]) -> str | None:
    """A column of classes: by its name, and because its values come again."""
    for name in (lower[known] for known in _LABELS if known in lower):
        values = table.values(name)
        if kinds[name] in ("word", "number") and len(set(map(str, values))) <= max(2, len(values) // 2):
            return name
    return None


def _conversation(table: Rows, kinds: dict[str, str], lower: dict[str, str]) -> _Verdict | None:
    for name in (lower[known] for known in ("messages", "conversations", *_DIALOGUES) if known in lower):
        if kinds[name] in ("list", "JSON"):
            first = table.values(name)[0]
            texts = isinstance(first, list) and all(isinstance(turn, str) for turn in first)
            if name in ("messages", "conversations") or (name in _TURNS and (texts or _has_roles(first))):
                notes = ["texts without roles: the user begins, and the assistant answers"] if texts else []
                sample = " ".join(_words(table.values(name)[:50]))
                return _Verdict("chat", f"conversations ({printable(name)})", {}, notes, sample=sample)
            expected = (
                "messages, a list of objects with role (user, assistant …) and content, or dialogue, a list of texts"
            )
            why = f"conversations are in {printable(name)}; zoo reads them from a column {expected}"
            return _Verdict("", "conversations", refusal=why)
    return None


def _has_roles(messages: Any) -> bool:
    return isinstance(messages, list) and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in messages)


def _words(value: Any) -> Iterator[str]:
    """What is said in a list of messages."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _words([content for name, content in value.items() if name not in ("role", "from")])
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)


def _completions(table: Rows, lower: dict[str, str], prompt: str, completion: str) -> _Verdict:
    known = {(prompt, completion)} <= {("prompt", "completion"), ("instruction", "output")}
    settings = {} if known else {"prompt_column": prompt, "completion_column": completion}
    used = [prompt, completion, *(["input"] if known and prompt == "instruction" else [])]
    others = [printable(name) for name in table.columns if name not in used]
    notes = [f"not used: {', '.join(others)}"] if others else []
    sample = " ".join(map(str, (*table.values(prompt)[:50], *table.values(completion)[:50])))
    what = f"prompts ({printable(prompt)}) with completions ({printable(completion)})"
    return _Verdict("chat", what, settings, notes, sample=sample)


def _documents(table: Rows, kinds: dict[str, str], lower: dict[str, str], label: str | None) -> _Verdict:
    texts = [name for name, kind in kinds.items() if kind == "text"]
    named = [lower[name] for name in _TEXTS if name in lower and kinds[lower[name]] in ("text", "word")]
    if not texts and not named:
        held = ", ".join(f"{printable(name)}: {kind}" for name, kind in list(kinds.items())[:8])
        return _Verdict("", "rows", refusal=f"no column of text ({held}): {NO_TASK['numbers']}")
    column = named[0] if named else max(texts, key=lambda name: sum(map(len, map(str, table.values(name)))))
    others = [name for name in texts if name != column]
    notes = [f"other columns of text, not used: {', '.join(map(printable, others))}"] if others else []
    sample = "\n".join(map(str, table.values(column)[:100]))
    settings = {} if column == "text" else {"text_column": column}
    if label and label != column:
        values = table.values(label)
        sizes = [f"{printable(name)} {number}" for name, number in Counter(map(str, values)).most_common()]
        seen = "" if table.count <= len(table.rows) else f" in the first {len(table.rows)} rows"
        notes.append(f"classes{seen}: {', '.join(sizes[:_CLASSES])}{' …' if len(sizes) > _CLASSES else ''}")
        what = f"texts ({printable(column)}) in {len(sizes)} classes ({printable(label)})"
        return _Verdict("classes", what, {**settings, "label_column": label}, notes, sample=sample)
    return _Verdict("text", f"texts ({printable(column)})", settings, notes, sample=sample)


# Recordings -----------------------------------------------------------------------------------------------------


def _recordings(inventory: Inventory, entry: Entry, table: Rows, kinds: dict[str, str]) -> "_Media | None":
    """The column of recordings, None where there is none."""
    for name, kind in kinds.items():
        values = table.values(name)
        if kind == "bytes" or (kind == "object" and {"bytes", "path"} <= set(values[0])):
            content = values[0] if kind == "bytes" else values[0]["bytes"]
            if recordings_inside.is_recording(content or b"") or _endings(values, SOUNDS):
                return _Media(name, "", len(values))
    named = [name for name, kind in kinds.items() if kind in ("word", "text") and _endings(table.values(name), SOUNDS)]
    for name in named:
        if found := _located(inventory, entry, [str(value) for value in table.values(name)], name, "recording"):
            return found
    return _Media(named[0], "", 0) if named else None


def _spoken(recordings: "_Media", table: Rows, lower: dict[str, str]) -> _Verdict:
    column, what = recordings.column, f"recordings ({printable(recordings.column)})"
    text = next((name for name in columns.TEXT if name in table.columns), None) or next(
        (name for name in table.columns if name != column and heads.kind_of(table.values(name)) == "text"), None
    )
    if text is None:
        why = f"no column of transcripts is clear (columns: {', '.join(map(printable, table.columns))})"
        return _Verdict("", what, refusal=f"{what}: {why}; expected one called text")
    if not recordings.there:
        example = printable(table.values(column)[0])
        return _Verdict("", what, refusal=f"{what}: no recording that it names is there ({example})")
    settings: dict[str, Any] = {}
    if recordings.pattern not in ("", f"{{{column}}}", f"clips/{{{column}}}"):
        settings["audio_column"] = recordings.pattern
    elif column != next((name for name in columns.AUDIO if name in table.columns), None):
        settings["audio_column"] = column
    if text not in columns.TEXT:
        settings["text_column"] = text
    speaker = next((lower[name] for name in columns.SPEAKER if name in lower), None)
    notes = [] if speaker is None else [f"whole speakers ({printable(speaker)}) are held out"]
    settings |= {} if speaker is None else {"group_column": speaker}
    looked_at = len(table.values(column))
    if recordings.there < looked_at:
        notes.append(f"{looked_at - recordings.there} of the first {looked_at} rows name no recording that is there")
        recordings_inside.allow(settings, looked_at - recordings.there, looked_at, table.count)
    sample = "\n".join(map(str, table.values(text)[:100]))
    what += f" with transcripts ({printable(text)})"
    return _Verdict("speech", what, settings, notes, sample=sample, named=recordings.entries)


# Images ---------------------------------------------------------------------------------------------------------


@dataclass
class _Media:
    """A column of images, or of recordings.

    Args:
        pattern: where the file of a row is, with the column's name in braces; empty where it is in the table itself.
        there: how many of the rows looked at have one.
        entries: their files.
    """

    column: str
    pattern: str
    there: int
    entries: Sequence[Entry] = ()


def _images(inventory: Inventory, entry: Entry, table: Rows, kinds: dict[str, str]) -> _Media | None:
    """The column of images, None where there is none."""
    for name, kind in kinds.items():
        values = table.values(name)
        if kind == "bytes" or (kind == "object" and {"bytes", "path"} <= set(values[0])):
            content = values[0] if kind == "bytes" else values[0]["bytes"]
            if _is_image(content or b"") or _endings(values, IMAGES):
                return _Media(name, "", len(values))
    words = [name for name, kind in kinds.items() if kind in ("word", "text", "number")]
    named = [name for name in words if _endings(table.values(name), IMAGES)]
    ids = [name for name in words if re.search("image|img|file|photo|picture|id|name|path", name.lower())]
    for name in dict.fromkeys([*named, *ids]):
        if found := _located(inventory, entry, [str(value) for value in table.values(name)], name):
            return found
    return _Media(named[0], "", 0) if named else None


def _located(inventory: Inventory, entry: Entry, values: list[str], column: str, kind: str = "image") -> _Media | None:
    """Where the files are that the values name: by their paths, their names, or their names without ending."""
    folder, media = entry.path.parent, inventory.of(kind)
    known = {os.path.normpath(one.path): one for one in media}
    hits = [known.get(os.path.normpath(folder / value)) for value in values]
    pattern = f"{{{column}}}"
    for name in ("name", "stem"):
        if sum(map(bool, hits)) > len(values) // 2:
            break
        places = {getattr(one.path, name): one for one in media}
        first = next((places[Path(value).name] for value in values if Path(value).name in places), None)
        if first:
            place = os.path.relpath(first.path.parent, folder)
            pattern = (Path(place) / f"{{{column}}}").as_posix() + ("" if name == "name" else first.path.suffix)
            paths = [folder / pattern.replace(f"{{{column}}}", value) for value in values]
            hits = [known.get(os.path.normpath(path)) for path in paths]
    found = [hit for hit in hits if hit]
    return _Media(column, pattern, len(found), found) if len(found) > len(values) // 2 else None


def _labelled_images(images: _Media, label: str | None, table: Rows) -> _Verdict:
    column, looked_at = images.column, len(table.values(images.column))
    shown = f"images ({printable(column)})"
    others = [n for n in table.columns if n != column and n.lower() not in ("id", "split")]
    if label is None:
        again = [n for n in others if 1 < len({*map(str, table.values(n))}) <= max(2, len(table.values(n)) // 2)]
        label = again[0] if len(again) == 1 else None
    if {"x", "xmin", "ymin", "bbox", "boxes"} & {name.lower() for name in others}:
        return _Verdict("", shown, refusal=NO_TASK["detection"])
    if label is None:
        texts = [name for name in others if heads.kind_of(table.values(name)) == "text"]
        why = NO_TASK["captions"] if texts else f"no column of classes is clear (columns: {', '.join(table.columns)})"
        return _Verdict("", shown, refusal=f"{shown}: {why}")
    if not images.there:
        example = printable(table.values(column)[0])
        return _Verdict("", shown, refusal=f"{shown}: no image that it names is there ({example})")
    settings: dict[str, Any] = {}
    if images.pattern not in ("", f"{{{column}}}"):
        settings["image_column"] = images.pattern
    elif column not in _IMAGE_COLUMNS:
        settings["image_column"] = column
    if label not in ("label", "labels", "class", "fine_label", "target"):
        settings["label_column"] = label
    notes = [f"images: {printable(images.pattern)}"] if images.pattern else []
    if images.there < looked_at:
        notes.append(f"{looked_at - images.there} of the first {looked_at} rows name no image that is there")
    classes = len({*map(str, table.values(label))})
    seen = "" if table.count <= len(table.rows) else f" in the first {len(table.rows)} rows"
    what = f"{shown} in {classes} classes{seen} ({printable(label)})"
    return _Verdict("images", what, settings, notes, named=images.entries)


def _endings(values: Sequence[Any], suffixes: Sequence[str]) -> bool:
    """Whether most of these are names of such files."""
    paths = [value.get("path") if isinstance(value, dict) else value for value in values]
    named = sum(isinstance(p, str) and os.path.splitext(p)[1].lower() in suffixes for p in paths)
    return named > len(values) // 2


def _is_image(content: bytes) -> bool:
    return (
        content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*", b"MM\0*")) or content[8:12] == b"WEBP"
    )
