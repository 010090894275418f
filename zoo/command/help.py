"""Help: short, grouped, each command with an example; keys and their descriptions come out of the schema."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from zoo.command.settings.merging import DEFAULTS, Settings
from zoo.command.settings.problems import shown
from zoo.command.settings.schema import SECTIONS, load

WIDTH, INDENT = 100, 36
_OVERVIEW = """\
zoo: train, test and ask neural networks, on one GPU of 12 GB or none. A run is a function of its config.

train
  zoo fit --config FILE             train; later --config files and flags (--data.batch_size 16) win
  zoo fit --resume [RUN]            go on with a run, exactly
ask
  zoo test [--run RUN]              metrics of the best checkpoint on the test data
  zoo validate [--run RUN]          the same on the validation data
  zoo predict [--run RUN] …         predictions: --prompt "Once", --image cat.png, --data.predict FILE
begin
  zoo init FOLDER                   look at your own files and write a config for them
  zoo init TASK                     a commented config for a task: text, images
  zoo list                          tasks, data, configs
look
  zoo runs                          runs with their best metric, state and size
  zoo doctor                        can this machine train? what is missing?
  zoo schema                        the schema that editors complete and check configs with
  zoo completion bash|zsh           completion for your shell

for example
  zoo fit --config quickstart --data.train my.txt
more: zoo fit --help, zoo fit --model zoo.CausalLM --help"""
_EXAMPLES = {
    "fit": ("train", "zoo fit --config quickstart --data.train my.txt --trainer.max_epochs 3"),
    "validate": ("metrics on the validation data", "zoo validate --run runs/quickstart/1"),
    "test": ("metrics on the test data; a table, and metrics.json in the run", "zoo test --run runs/quickstart/1"),
    "predict": ("predictions of the best checkpoint", 'zoo predict --prompt "The for statement"'),
}
_WHAT = """\
what
  --config FILE                     settings; several are put on top of each other, flags win
  --model CLASS, --model.KEY        what is trained: {tasks}, or your own
  --data CLASS, --data.KEY          on what: {data}
  --data.train SOURCE               a file, a folder, a data set of the hub
  --print_config                    what comes of it all, with every default"""
_LONG = """\
how long
  --trainer.max_epochs N            passes over the training data
  --trainer.max_steps N             optimizer steps; whichever limit comes first
  --checkpoint.every_n_minutes N    how often the run is saved
on what
  --trainer.accelerator cpu|gpu     default auto
  --trainer.precision P             16-mixed, bf16-mixed, 32-true
  --model.micro_batch_size N        samples that go through the GPU at a time; the result is the same"""
_WHERE = {
    "fit": """\
where
  --name NAME                       the run goes to runs/NAME/1, 2 …; default: the config's name
  --resume [RUN]                    go on with the latest run, or with this one
  --allow-change KEY                a setting that may differ on resume""",
    "": """\
where
  --run RUN                         a run (runs/gpt2/3), a name, or the latest; its settings come first""",
}


def overview() -> str:
    return _OVERVIEW


def command(name: str, flags: Sequence[str]) -> str:
    """Of a command; of the classes and the section that its flags name, instead."""
    settings = Settings(load())
    settings.add_file(DEFAULTS)
    typed = [flag for flag in flags if flag not in ("--help", "-h")]
    ends = [after.startswith("--") for after in [*typed[1:], "--"]]
    asked = {f"--{section}" for section in SECTIONS}  # without a value: what it takes, and nothing is set
    settings.add_flags([flag for flag, end in zip(typed, ends, strict=False) if not (end and flag in asked)])
    named = [flag.partition("=")[0].removeprefix("--") for flag in flags if flag.startswith("--")]
    details = [_details(settings, section) for section in ("model", "data") if section in named]
    details += [_details(settings, s) for s in ("trainer", "checkpoint") if s in named]
    if any(details):
        return "\n\n".join(text for text in details if text)
    what, example = _EXAMPLES[name]
    known = {base: load().subclasses(f"zoo.{base}") for base in ("Task", "DataModule")}
    ours = {base: [name for name in names if name.startswith("zoo.")] for base, names in known.items()}
    first = _WHAT.format(tasks=", ".join(ours["Task"]), data=", ".join(ours["DataModule"]))
    groups = [first, *([_LONG] if name == "fit" else []), _WHERE["fit" if name == "fit" else ""]]
    classes = f"--model {ours['Task'][0]} --help, --data {ours['DataModule'][0]}, --trainer, --checkpoint"
    ending = f"for example\n  {example}\nall keys: zoo {name} {classes}"
    return "\n".join([f"zoo {name}: {what}", *groups, ending])


def _details(settings: Settings, section: str) -> str:
    schema = load()
    definition = schema.resolved(schema.sections[section])
    title = section
    if "x-class" in definition:
        title = settings.class_path(section)
        found = schema.definition(title, definition["x-class"])
        if found is None:
            return f"{title}: its arguments cannot be read from its source." if title else ""
        definition = found
    lines = [f"{title}: {definition.get('description') or 'a class of your own'}"]
    for key, expected in definition["properties"].items():
        if section == "trainer" and (node := settings.node(section, key)).value is not None:
            expected = {**expected, "default": node.plain()}  # zoo/command/defaults.yaml
        lines += _key(f"--{section}.{key}", expected)
        inner = schema.resolved(expected)
        for name, below in inner.get("properties", {}).items() if "x-home" in inner else ():
            lines += _key(f"--{section}.{key}.{name}", below)
    return "\n".join(lines)


def _key(name: str, expected: dict[str, Any]) -> Iterator[str]:
    default = expected.get("default")
    described = re.sub(r"\s*Default: \S+$", "", expected.get("description", "")).rstrip(".")
    about = [part for part in (described, kind(expected)) if part]
    about += [f"default {shown(default)}"] if default is not None else []
    text = textwrap.wrap("; ".join(about), WIDTH - INDENT) or [""]
    head = f"  {name}"
    if len(head) >= INDENT - 1:
        yield head
        head = ""
    yield f"{head:<{INDENT}}{text[0]}".rstrip()
    yield from (f"{'':<{INDENT}}{line}" for line in text[1:])


def kind(expected: dict[str, Any]) -> str:
    """What a key takes, in a word or two; nothing for what its default already shows."""
    branches = expected.get("anyOf", [expected])
    choices = [str(choice) for branch in branches for choice in branch.get("enum", [])]
    if base := next((branch["x-class"] for branch in branches if "x-class" in branch), ""):
        return f"a class: {base}"
    return "one of " + ", ".join(choices) if len(choices) > 1 else ""
