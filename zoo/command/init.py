"""zoo init: a commented config for a task, or for the files in a folder of one's own."""

import os
from pathlib import Path

from zoo.command import config_templates, inspect_files, inventory
from zoo.command.found import Found
from zoo.command.settings import shipped
from zoo.command.settings.problems import nearest
from zoo.errors import ConfigError, MissingInputError, typed
from zoo.files import hub
from zoo.files.paths import nearest_file, printable, shell, write_text

USAGE = """\
zoo init FOLDER [--use KIND] [--out FILE] looks at your own files (texts, tables, images, also in a folder per class,
recordings with transcripts) and writes a config that trains on them. FOLDER may be a single file. If it holds several
things to train on, KIND chooses one: images, recordings, tables, or texts.
zoo init text|text_classification|images|diffusion|speech [--out FILE] writes a config for files that are still to come.
zoo init CONFIG [--out FILE] writes a copy, to edit, of a config that zoo list names.
The config is written to FOLDER.yaml, or to FILE, and "--out -" prints it. No file is overwritten. Only the first
megabyte of a file is read, and at most 100,000 files are counted (10,000 in one folder)."""
_NAMES = {
    "text": ("text", "causal_lm", "CausalLM"),
    "classes": ("text_classification", "TextClassification"),
    "images": ("images", "image_classification", "ImageClassification"),
    "generation": ("diffusion", "generation", "Diffusion"),
    "speech": ("speech", "speech_ctc", "SpeechCTC", "speech_seq2seq", "SpeechSeq2Seq"),
}
_TASKS = {name: kind for kind, names in _NAMES.items() for one in names for name in (one, f"zoo.{one}")}
"""What is to be trained on, by the words for it."""
_COMING = {
    "text": Found("text", "", {"train": "my_text.txt"}, size=10_000_000),
    "classes": Found("classes", "", {"train": "my_table.csv"}, {"label_column": "label"}, size=10_000_000),
    "images": Found("images", "", {"train": "my_images"}, size=1000),
    "generation": Found("generation", "", {"train": "my_images"}, size=1000),
    "speech": Found("speech", "", {"train": "my_recordings"}, size=36_000),
}
_ABOUT = {
    "text": "A language model on your own text: put the name of your file at data.train.",
    "classes": "A classifier of your own texts, in a table with a column for the text and one for its class.",
    "images": "A classifier of your own images, in a folder for each class: put their folder at data.train.",
    "generation": "A generator of images like your own: put their folder at data.train. Folders in it are classes.",
    "speech": "A recogniser of speech: put a folder of recordings, with a .txt beside each or a table, at data.train.",
}


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv} or not argv:
        print(USAGE)
        return 0
    what, out, use = _arguments(argv)
    path = Path(what).expanduser()
    if os.path.lexists(path):
        text = _config(*_look(path, use, out != "-"), show=out != "-")
        name = f"{path.resolve().stem}.yaml"
    elif what in _TASKS:
        kind = _TASKS[what]
        text, name = _config(_COMING[kind], _ABOUT[kind]), f"my_{_NAMES[kind][0]}.yaml"
    elif what.removesuffix(".yaml") in shipped.names():
        name = f"{Path(what).stem}.yaml"
        text = config_templates.copy(shipped.folder() / f"{what.removesuffix('.yaml')}.yaml")
    else:
        raise _unknown(what)
    return _write(text, out or name)


def _arguments(argv: list[str]) -> tuple[str, str, str]:
    options, words, i = {"--out": "", "--use": ""}, [], 0
    while i < len(argv):
        word, _, value = argv[i].partition("=")
        if word in options and (value or i + 1 < len(argv)):
            i += not value
            options[word] = value or argv[i]
        elif word.startswith("-") and word != "-":
            raise ConfigError(f"zoo init has no {word}{nearest(word, [*options, '--help'])}")
        else:
            words.append(argv[i])
        i += 1
    if len(words) != 1:
        raise ConfigError(f"zoo init takes one folder, file or task; found {' '.join(words) or 'none'}.")
    if options["--use"] not in ("", *inspect_files.USES):
        raise ConfigError(f"--use is {options['--use']!r}; one of {', '.join(inspect_files.USES)}.")
    return words[0], options["--out"], options["--use"]


def _unknown(what: str) -> Exception:
    if "/" in what or "." in what:
        near = nearest_file(Path(what))
        return MissingInputError(f"{what}: no such file or folder{near}{'?' if near else '.'}")
    return MissingInputError(
        f"{what} is neither a folder here, a task nor a config{nearest(what, [*_TASKS, *shipped.names()])} "
        f"The tasks are {', '.join(names[0] for names in _NAMES.values())}, and zoo list shows the configs."
    )


def _look(path: Path, use: str, show: bool) -> tuple[Found, str]:
    """What is to be trained on, and what there is to say about it."""
    all_of_it = inventory.take(path)
    if show:
        print("\n".join(all_of_it.lines()))
    found = inspect_files.look(all_of_it, use)
    about = "\n".join([f"{printable(path)}: {found.what}", *(f"  {note}" for note in found.notes)])
    if show:
        print(f"to train on: {about}")
    return found, about


def _config(found: Found, about: str, show: bool = False) -> str:
    template, model = config_templates.TEMPLATES[found.kind], config_templates.model(found)
    reachable = not model or hub.is_cached(model) or not hub.offline()
    if show and not reachable:
        print(f"  from scratch: the Hugging Face hub cannot be reached, and {model} was not downloaded before")
    return template(found, about, typed("zoo"), reachable)


def _write(text: str, out: str) -> int:
    if out == "-":
        print(text, end="")
        return 0
    path = Path(out)
    if path.exists():
        raise ConfigError(
            f"{printable(path)} is there already; name another with --out FILE, or - to print the config."
        )
    name = shell(path)
    write_text(path, text.replace("THIS_FILE", name))
    print(f"written: {printable(path)}\nnext:\n  {typed(f'zoo fit --config {name}')}")
    return 0
