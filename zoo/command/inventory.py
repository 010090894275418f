"""What lies in a folder, by kind of file. Nothing is opened here; links that lead back, pipes and devices are left."""

import os
import stat
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zoo.files.endings import TABLES, TEXTS, ending
from zoo.files.paths import printable

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".heic", ".heif", ".avif")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".amr")
_KINDS = {
    "text": TEXTS,
    "table": TABLES,
    "image": IMAGES,
    "recording": SOUNDS,
    "subtitle": (".srt", ".vtt"),
    "video": (".mp4", ".mkv", ".avi", ".mov", ".webm", ".wmv", ".m4v"),
    "document": (".pdf", ".docx", ".doc", ".odt", ".rtf", ".epub", ".html", ".htm", ".xlsx", ".xls", ".ods", ".ipynb"),
    "archive": (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz"),
    "array": (".npz", "-ubyte", ".meta"),
}
KINDS = {one: kind for kind, endings in _KINDS.items() for one in endings}
_UNSEEN = {"__pycache__", "__MACOSX", "node_modules", "runs"}
"""Folders that hold nothing of the user's, and those that zoo writes its runs into."""
_MOST, _MOST_IN_FOLDER = 100_000, 10_000
_NAMED = 3
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: where it is, also below the folder, its size in bytes, and its kind by its ending.

    Args:
        suffix: in lower case; .jsonl for a.jsonl.gz too.
    """

    location: str
    parts: tuple[str, ...]
    size: int
    suffix: str
    kind: str

    @property
    def path(self) -> Path:
        return Path(self.location)


def _suffix(name: str) -> str:
    is_idx = name.removesuffix(".gz").endswith("-ubyte")  # MNIST's files have no other
    return "-ubyte" if is_idx else ending(Path(name))


@dataclass
class Inventory:
    """All that was found.

    Args:
        folders: names of those directly inside.
        left: what was left alone, by the reason.
        cut: whether there is more than was counted.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    by_kind: dict[str, list[Entry]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    left: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cut: bool = False

    def of(self, kind: str) -> list[Entry]:
        return self.by_kind.get(kind, [])

    def lines(self) -> Iterator[str]:
        """Counts by kind, endings and subfolders."""
        where = f" in {count(len(self.folders), 'folder')}" if self.folders else ""
        more = " or more" if self.cut else ""
        yield f"{printable(self.root)}: {count(len(self.entries), 'file')}{more}{where}"
        for kind in (*_KINDS, "other"):
            if found := self.of(kind):
                what = count(len(found), kind if kind != "other" else "other file")
                yield f"  {what}, {shares(e.suffix or 'no ending' for e in found)}{_places(found)}"
        for reason, names in self.left.items():
            shown = ", ".join(map(printable, names[:_NAMED])) + (" …" if len(names) > _NAMED else "")
            yield f"  {reason}: {shown}" + (f" ({len(names):,})" if len(names) > 1 else "")


def _places(entries: list[Entry]) -> str:
    folders = Counter(entry.parts[0] + "/" for entry in entries if len(entry.parts) > 1)
    top = len(entries) - folders.total()
    if not folders:
        names = sorted(entry.parts[-1] for entry in entries)
        return f": {', '.join(map(printable, names))}" if len(names) <= _NAMED else ""
    return f": {most(folders)}" + (f", outside of them {top:,}" if top else "")


def shares(words: Iterator[str]) -> str:
    """.jpg (12), .png (3); the word alone where there is one."""
    counted = Counter(words)
    return most(counted) if len(counted) > 1 else printable(next(iter(counted), ""))


def most(counted: Counter[str]) -> str:
    shown = ", ".join(f"{printable(word)} ({number:,})" for word, number in counted.most_common(_SHOWN))
    return shown + (f" and {len(counted) - _SHOWN:,} more" if len(counted) > _SHOWN else "")


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def take(root: Path) -> Inventory:
    """All regular files below a folder, or the one file. Every real folder is visited once, links after the others."""
    found = Inventory(root)
    if root.is_dir():
        _walk(found, root)
    else:
        _add(found, str(root), (root.name,))
    found.entries.sort(key=lambda entry: entry.parts)
    for entry in found.entries:
        found.by_kind.setdefault(entry.kind, []).append(entry)
    return found


def _walk(found: Inventory, root: Path) -> None:
    waiting: deque[tuple[str, tuple[str, ...]]] = deque([(str(root), ())])
    links: deque[tuple[str, tuple[str, ...]]] = deque()
    visited = {_identity(str(root))}
    while waiting or links:
        is_link = not waiting
        folder, parts = (waiting or links).popleft()
        if is_link:
            if _identity(folder) in visited:
                found.left["links to a folder that was counted already"].append("/".join(parts))
                continue
            visited.add(_identity(folder))
        for path, name, kind in _inside(found, folder, parts):
            inner = (*parts, name)
            if kind == "file":
                _add(found, path, inner)
            elif kind == "link":
                links.append((path, inner))
            elif _identity(path) not in visited:
                visited.add(_identity(path))
                waiting.append((path, inner))
                if not parts:
                    found.folders.append(name)
        if len(found.entries) >= _MOST:
            found.cut = True
            break


def _inside(found: Inventory, folder: str, parts: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Path, name, and folder, link (to a folder) or file (or what may be one) of what is directly inside."""
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number == _MOST_IN_FOLDER:
                    found.cut = True
                    return
                if entry.name.startswith("."):
                    continue
                is_folder = entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))
                if not is_folder:  # entry.is_dir() fails at a link to itself
                    yield entry.path, entry.name, "file"
                elif entry.name in _UNSEEN:
                    found.left["not looked into"].append("/".join((*parts, entry.name)))
                else:
                    yield entry.path, entry.name, "link" if entry.is_symlink() else "folder"
    except OSError as error:
        found.left[f"cannot be read ({error.strerror})"].append("/".join(parts) or folder)


def _add(found: Inventory, path: str, parts: tuple[str, ...]) -> None:
    try:
        status = os.stat(path)
    except OSError:
        found.left["links to nothing"].append("/".join(parts))
        return
    if stat.S_ISREG(status.st_mode):
        suffix = _suffix(parts[-1])
        found.entries.append(Entry(path, parts, status.st_size, suffix, KINDS.get(suffix, "other")))
    else:
        found.left["pipes and devices, not opened"].append("/".join(parts))


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
