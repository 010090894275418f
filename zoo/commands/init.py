"""zoo init: a commented config for a task, or for the files in a folder of one's own."""

from pathlib import Path

from zoo import hub
from zoo.commands import looking, templates
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.paths import nearest_file, write_text
from zoo.settings.problems import nearest

USAGE = """\
zoo init FOLDER [--out FILE]: look at your own files (texts, tables, pictures in a folder per class) and write a config
that trains on them. FOLDER may be a single file.
zoo init text|images [--out FILE]: the same for files that are still to come.
FILE is FOLDER.yaml unless it is named; - prints the config. Nothing is overwritten."""
_TASKS = {"text": "text", "images": "images", "zoo.CausalLM": "text", "CausalLM": "text", "causal_lm": "text",
          "zoo.ImageClassification": "images", "ImageClassification": "images", "pictures": "images"}  # fmt: skip


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv} or not argv:
        print(USAGE)
        return 0
    what, out = _arguments(argv)
    path = Path(what).expanduser()
    if path.exists():
        found = looking.look(path)
        print(found.line) if out != "-" else None
        text, name = _config(found), f"{path.resolve().stem}.yaml"
    elif what in _TASKS:
        kind = _TASKS[what]
        text = _config(looking.Found(kind, f"my_{kind}" + (".txt" if kind == "text" else ""), "", 10_000_000, 1000))
        name = f"my_{kind}.yaml"
    else:
        raise _unknown(what)
    return _write(text, out or name)


def _arguments(argv: list[str]) -> tuple[str, str]:
    words, out, i = [], "", 0
    while i < len(argv):
        word = argv[i]
        if word == "--out" and i + 1 < len(argv):
            out, i = argv[i + 1], i + 1
        elif word.startswith("--out="):
            out = word.partition("=")[2]
        elif word.startswith("-") and word != "-":
            raise ConfigError(f"zoo init has no {word}{nearest(word, ['--out', '--help'])}")
        else:
            words.append(word)
        i += 1
    if len(words) != 1:
        raise ConfigError(f"zoo init takes one folder, file or task; found {' '.join(words) or 'none'}.")
    return words[0], out


def _unknown(what: str) -> Exception:
    if what in ("speech", "audio", "asr"):
        return ConfigError("zoo has no task for speech yet; zoo list shows those it has.")
    if "/" in what or "." in what:
        near = nearest_file(Path(what))
        return MissingInputError(f"{what}: no such file or folder{near}{'?' if near else '.'}")
    return MissingInputError(
        f"{what} is neither a folder here nor a task{nearest(what, _TASKS)} There are text and images."
    )


def _config(found: looking.Found) -> str:
    if found.kind == "images":
        return templates.images(found, pretrained=not hub.offline())
    if found.kind == "text":
        return templates.text(found, pretrained=not hub.offline())
    raise DataError(found.line)


def _write(text: str, out: str) -> int:
    if out == "-":
        print(text, end="")
        return 0
    path = Path(out)
    if path.exists():
        raise ConfigError(f"{path} is there already; name another with --out FILE, or - to print the config.")
    write_text(path, text.replace("THIS_FILE", str(path)))
    print(f"written: {path}\nnext:\n  uv run zoo fit --config {path}")
    return 0
