"""Recordings in a folder: what is said in them, by what lies beside them, and which of them cannot be read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.command.found import Found
from zoo.command.inventory import Entry, Inventory, count
from zoo.errors import DataError
from zoo.files import heads
from zoo.files.paths import printable

_OPENED, _HEARD, _LONG = 1000, 3600, 600
"""Recordings whose headers are looked at; seconds that are decoded in all; seconds of one that would take too long."""
_READ = 100
_TOO_MANY = 0.2
_NAMED = 3
_WINDOW = 30
"""Seconds that Whisper hears."""
_SOUND_STARTS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM", b"\x1aE\xdf\xa3")


def look(inventory: Inventory) -> list[Found]:
    """The recordings, as one thing to train on; nothing where there are none."""
    sounds = inventory.of("recording")
    if not sounds:
        return []
    folder, texts = _folder(inventory, sounds), _transcripts(inventory, sounds)
    spoken = {_stem(entry) for entry in texts}
    lists = [entry for entry in inventory.of("text") if entry.parts[-1].endswith(".trans.txt")]
    missing = [] if lists else [entry for entry in sounds if _stem(entry) not in spoken]
    without = {*missing}
    told = [entry for entry in sounds if entry not in without] or sounds
    what = count(len(told), "recording")
    found = Found("speech", what, {"train": folder.as_posix()}, entries=[*sounds, *texts, *lists])
    inside = [entry for entry in inventory.of("table") if entry not in texts and entry.path.is_relative_to(folder)]
    if inside:
        table = printable(inside[0].path)
        found.refusal = f"{printable(folder)}: {what} beside a table that is not about them ({table}); part them"
    elif len(missing) == len(sounds):
        first = sounds[0].path
        found.refusal = (
            f"{printable(folder)}: {what} without transcripts. To train on them, write what is said in "
            f"{printable(first.name)} into {printable(first.stem)}.txt beside it, and so on, or all of it into a "
            f"metadata.csv with the columns file_name and text"
        )
    else:
        found.what += " with LibriSpeech's transcripts" if lists else " with transcripts beside them"
        found.sample = "\n".join(_said(entry) for entry in (lists or texts)[:_READ])
        if missing:
            found.notes.append(f"without a transcript, so not used: {_some(missing)}")
        open_some(found, told, len(told))
    return [found]


def _folder(inventory: Inventory, sounds: Sequence[Entry]) -> Path:
    """The one around all of them; the recording itself where it is the only file."""
    if not inventory.root.is_dir():
        return inventory.root
    ways = [entry.parts[:-1] for entry in sounds]
    first, last = min(ways), max(ways)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return inventory.root.joinpath(*first[:same])


def _transcripts(inventory: Inventory, sounds: Sequence[Entry]) -> list[Entry]:
    """Texts, subtitles, and Whisper's JSON that have the name of a recording."""
    stems = {_stem(entry) for entry in sounds}
    texts = [entry for entry in inventory.of("text") if entry.suffix == ".txt"]
    times = [entry for entry in inventory.of("table") if entry.suffix == ".json"]
    return [entry for entry in (*texts, *inventory.of("subtitle"), *times) if _stem(entry) in stems]


def _stem(entry: Entry) -> tuple[str, ...]:
    return (*entry.parts[:-1], entry.path.stem)


def _said(entry: Entry) -> str:
    try:
        lines = heads.text(entry.path).text.splitlines()
    except DataError:
        return ""
    return "\n".join(line for line in lines if "-->" not in line)


def _some(entries: Sequence[Entry]) -> str:
    more = f" and {len(entries) - _NAMED:,} more" if len(entries) > _NAMED else ""
    return f"{len(entries):,} ({', '.join(printable('/'.join(e.parts)) for e in entries[:_NAMED])}{more})"


def is_recording(content: bytes) -> bool:
    """Whether bytes begin as a recording does."""
    return content.startswith(_SOUND_STARTS) or content[4:8] == b"ftyp"


# Files ----------------------------------------------------------------------------------------------------------


def open_some(found: Found, entries: Sequence[Entry], total: int) -> None:
    """Look at as many recordings as time allows, and say how long they are, and which are silent or cannot be read.

    Args:
        total: recordings, of which these are some.
    """
    some = entries[:: max(1, -(-len(entries) // _OPENED))]
    broken, silent, lengths, room = [], [], {}, float(_HEARD)
    for entry in some:
        reason, seconds, is_silent = _looked_at(entry.path, room)
        room -= seconds if seconds <= min(room, _LONG) else 0
        if reason:
            broken.append((entry, reason))
        else:
            lengths[entry] = seconds
            silent += [entry] if is_silent else []
    found.size = round(sum(lengths.values()) * total / max(1, len(some)))
    if len(some) < total:
        found.notes.append(f"opened: {len(some):,} of the {total:,} recordings")
    if lengths:
        shortest, longest = min(lengths.values()), max(lengths.values())
        about = "about " if len(some) < total else ""
        found.notes.append(f"length: {about}{_time(found.size)} in all, from {shortest:.1f} s to {_time(longest)}")
    if long := [entry for entry, seconds in lengths.items() if seconds > _WINDOW]:
        found.notes.append(f"longer than {_WINDOW} s, so left out unless subtitles say what is where: {_some(long)}")
    if silent:
        found.notes.append(f"silent: {_some(silent)}")
    _say_broken(found, broken, len(some), total)


def _say_broken(found: Found, broken: list[tuple[Entry, str]], opened: int, count_of_all: int) -> None:
    if not broken:
        return
    shown = "; ".join(f"{printable('/'.join(entry.parts))}: {reason}" for entry, reason in broken[:_NAMED])
    more = f"; and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
    if len(broken) > _TOO_MANY * opened:
        found.refusal = f"{found.what}: {len(broken):,} of {opened:,} cannot be read, too many ({shown}{more})"
        return
    found.notes.append(f"cannot be read: {len(broken):,} of {opened:,} ({shown}{more})")
    allow(found.settings, len(broken), opened, count_of_all)


def allow(settings: dict[str, Any], broken: int, opened: int, total: int) -> None:
    """Have so many recordings of the opened ones left out, although all may be in the part that is held out."""
    share = broken / max(1, total // 10) if opened == total else 2 * broken / opened
    settings["max_broken"] = round(min(0.5, max(share, 0.01) + settings.get("max_broken", 0)), 2)


def _looked_at(path: Path, room: float) -> tuple[str, float, bool]:
    """Why a recording cannot be read, or nothing; its seconds; and whether it is silent."""
    from zoo.audio import reading

    try:
        seconds = reading.length(path)
        return "", seconds, seconds <= min(room, _LONG) and reading.peak(path) < reading.QUIET
    except DataError as error:
        return str(error), 0.0, False


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
