"""Plain texts in a folder: how much of them, in which encoding and language."""

from collections import Counter

from zoo.command import languages
from zoo.command.found import ORDER, Found, by_split, source
from zoo.command.inventory import Entry, Inventory, count
from zoo.errors import DataError
from zoo.files import encodings, heads
from zoo.files.paths import printable

_ABOUT = ("readme", "license", "licence", "changelog", "contributing", "requirements", "copying", "notice", "authors")
"""Texts about the folder, not of it."""
_OPENED, _BYTES = 500, 8 << 20
_SAMPLE = 20_000


def look(inventory: Inventory) -> list[Found]:
    """The texts, as one thing to train on; nothing where there are none, or only texts about the folder."""
    texts = [entry for entry in inventory.of("text") if not entry.path.name.lower().startswith(_ABOUT)]
    if not texts and len(inventory.of("text")) == len(inventory.entries):
        texts = inventory.of("text")
    others = {_stem(entry) for kind in ("recording", "image") for entry in inventory.of(kind)}
    texts = [entry for entry in texts if _stem(entry) not in others]  # transcripts and captions
    if not texts:
        return []
    root, splits = printable(inventory.root), by_split(texts)
    sources = _sources(inventory, splits)
    if sources is None:  # texts of several endings among tables: those of the ending that most have
        most = Counter(entry.suffix for entry in texts).most_common(1)[0][0]
        texts = [entry for entry in texts if entry.suffix == most]
        splits = by_split(texts)
        sources = _sources(inventory, splits)
    try:
        characters, sample, about, facts = _measured(splits["train"])
    except DataError as error:
        return [Found("text", "", refusal=str(error).rstrip("."), entries=texts)]
    what = f"{count(len(splits['train']), 'text')}, {about}{characters:,} characters"
    if not sample.strip():
        return [Found("text", what, refusal=f"{root}: every text in it is empty", entries=texts)]
    if sources is None:
        refusal = f"{root}: {what}, among other files of text: move those to train on into a folder of their own"
        return [Found("text", what, refusal=refusal, entries=texts)]
    if not sum(map(heads.is_letter, sample)) > 0.2 * len(sample.replace(" ", "")):
        facts.append("most of it is numbers and signs, not words")
    notes = [*facts, *_of_splits(splits)]
    code = languages.CODE if all(entry.suffix == ".py" for entry in texts) else ""
    return [Found("text", what, sources, notes=notes, entries=texts, size=characters, sample=sample, language=code)]


def _sources(inventory: Inventory, splits: dict[str, list[Entry]]) -> dict[str, str] | None:
    """How to name each split; None where that cannot be said."""
    named = {split: source(inventory, entries) for split, entries in splits.items()}
    if all(named.values()):
        return {split: where for split, where in named.items() if where}
    whole = source(inventory, [entry for entries in splits.values() for entry in entries])
    return {"train": whole} if whole else None  # the data module finds its splits by the same names


def _of_splits(splits: dict[str, list[Entry]]) -> list[str]:
    shown = ", ".join(f"{split} {count(len(splits[split]), 'text')}" for split in ORDER if split in splits)
    return [f"splits, by the names of files and folders: {shown}"] if len(splits) > 1 else []


def _measured(entries: list[Entry]) -> tuple[int, str, str, list[str]]:
    """Characters, some of the text, "about " where they are reckoned, and what is to be said of encodings."""
    characters, opened, reckoned, empty = 0, 0, False, 0
    room, sample = _BYTES, ""
    codecs: Counter[str] = Counter()
    step = max(1, len(entries) // _OPENED)
    for entry in entries[::step]:
        head = heads.text(entry.path, min(heads.BYTES, max(1 << 12, room)))
        characters += head.characters
        opened += entry.size
        room -= len(head.text)
        reckoned = reckoned or not head.whole
        empty += not head.text.strip()
        codecs[encodings.shown(head.encoding)] += 1
        if len(sample) < _SAMPLE:
            sample += head.text[:_SAMPLE]
    total = sum(entry.size for entry in entries)
    if step > 1 and opened:
        characters, reckoned = round(characters * total / opened), True
    facts = [f"read as {name}: {count(number, 'text')}" for name, number in codecs.items() if name != "utf-8"]
    facts += [f"empty: {count(empty, 'text')}"] if empty else []
    return characters, sample, "about " if reckoned else "", facts


def _stem(entry: Entry) -> tuple[str, ...]:
    return (*entry.parts[:-1], entry.path.stem)
