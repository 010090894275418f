"""What zoo could train on in a folder, and which of it, if it is clear."""

from zoo.command import image_folders, languages, recordings_inside, tables_inside, texts_inside
from zoo.command.found import Found
from zoo.command.inventory import Inventory, count
from zoo.errors import ConfigError, DataError, typed
from zoo.files.paths import printable, shell

_NAMED = 3
_CLEAR = 10
"""What has so many times the bytes of all else is what is meant."""
_CONVERT = {
    ".pdf": "pdftotext FILE.pdf makes a .txt of each",
    ".docx": "pandoc FILE.docx -o FILE.txt makes a text of each",
    ".doc": "soffice --headless --convert-to txt FILE.doc makes a text of each",
    ".odt": "pandoc FILE.odt -o FILE.txt makes a text of each",
    ".rtf": "pandoc FILE.rtf -o FILE.txt makes a text of each",
    ".epub": "pandoc FILE.epub -o FILE.txt makes a text of each",
    ".html": "pandoc FILE.html -t plain -o FILE.txt makes a text of each",
    ".ipynb": "jupyter nbconvert --to script FILE.ipynb makes a program of each",
    ".xlsx": "save each as .csv, or: soffice --headless --convert-to csv FILE.xlsx",
}
_CONVERT |= {".htm": _CONVERT[".html"], ".xls": _CONVERT[".xlsx"], ".ods": _CONVERT[".xlsx"]}
USES = ("images", "recordings", "tables", "texts")


def conversions(inventory: Inventory) -> list[str]:
    """What to convert documents with, a line for each kind."""
    suffixes = dict.fromkeys(entry.suffix for entry in inventory.of("document"))
    lines = [f"{suffix} is no plain text: {_CONVERT[suffix]}" for suffix in suffixes]
    return lines + (["archives are not opened: unpack them first"] if inventory.of("archive") else [])


def look(inventory: Inventory, use: str = "") -> Found:
    """What is to be trained on.

    Args:
        use: images, recordings, tables or texts, where a user has chosen.

    Raises:
        ConfigError: several things could be meant.
        DataError: there is nothing that zoo has a task for.
    """
    lookers = {"images": image_folders.look, "recordings": recordings_inside.look}
    lookers |= {"tables": tables_inside.look, "texts": texts_inside.look}
    candidates = [found for name, looker in lookers.items() if use in ("", name) for found in looker(inventory)]
    candidates = _without_transcripts(_one_of_images(candidates))
    candidates.sort(key=lambda found: -found.weight)
    usable = [found for found in candidates if not found.refusal]
    usable = [found for found in usable if found.kind != "generation"] or usable  # images lie beside many things
    if not usable or (candidates[0].refusal and candidates[0].weight > _CLEAR * usable[0].weight):
        raise DataError(_nothing(inventory, candidates))
    chosen, *others = usable
    if others and chosen.weight < _CLEAR * sum(other.weight for other in others):
        raise ConfigError(_ambiguous(inventory, usable))
    chosen.notes += [f"not used: {other.what} ({how})" for other in others if (how := _command(inventory, other))]
    chosen.notes += [f"not used: {other.refusal}" for other in candidates if other.refusal]
    chosen.notes += [] if use else [f"not used: {line}" for line in conversions(inventory)]
    if inventory.cut:
        chosen.notes.append(f"there are more files: these numbers are of the first {len(inventory.entries):,}")
    if chosen.kind not in ("images", "generation"):
        chosen.language = chosen.language or languages.name(chosen.sample)
        chosen.notes += [f"language: {chosen.language}"] if chosen.language else []
    return chosen


def _one_of_images(candidates: list[Found]) -> list[Found]:
    """Without what folders say of images whose classes are in a table, or the other way round."""
    tables = [found for found in candidates if found.kind == "images" and found.entries[0].kind == "table"]
    folders = [found for found in candidates if found.kind in ("images", "generation") and found not in tables]
    if not tables or not folders:
        return candidates
    left = tables if any(not found.refusal and found.kind == "images" for found in folders) else folders
    return [found for found in candidates if found not in left]


def _without_transcripts(candidates: list[Found]) -> list[Found]:
    """Without what is part of recordings with transcripts: their texts, or the recordings that a table names."""
    speech = [found for found in candidates if found.kind == "speech" and not found.refusal]
    if not speech:
        return candidates
    taken = {entry.location for found in speech for entry in found.entries}
    others = [found for found in candidates if found.kind != "speech"]
    return [*speech, *(found for found in others if {entry.location for entry in found.entries} - taken)]


def _ambiguous(inventory: Inventory, usable: list[Found]) -> str:
    lines = "".join(f"\n  {_command(inventory, found)}   # {found.what}" for found in usable)
    return f"{printable(inventory.root)} has several things to train on. Choose one of them:{lines}"


def _command(inventory: Inventory, found: Found) -> str:
    """What to type for just this one."""
    if len(found.entries) == 1:
        return typed(f"zoo init {shell(found.entries[0].path)}")
    use = {"table": "tables", "text": "texts", "recording": "recordings"}.get(found.entries[0].kind, "images")
    return typed(f"zoo init {shell(inventory.root)} --use {use}")


def _nothing(inventory: Inventory, candidates: list[Found]) -> str:
    root = printable(inventory.root)
    if candidates:
        refusals = [found.refusal for found in candidates if found.refusal]
        more = f"; and {len(refusals) - _NAMED:,} more like these" if len(refusals) > _NAMED else ""
        return "; ".join(refusals[:_NAMED]) + more + "."
    if lines := conversions(inventory):
        return f"{root}: {'; '.join(lines)}."
    if inventory.of("video"):
        return f"{root}: {count(len(inventory.of('video')), 'video')}; zoo has no task for them."
    held = "no file" if not inventory.entries else "nothing that zoo can train on"
    expected = "texts (.txt, .md …), tables (.csv, .jsonl …), images, or recordings"
    return f"{root} has {held} in it. Expected {expected}."
