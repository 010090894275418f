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
zoo trains, tests and uses neural networks on one GPU or on a CPU. A config file describes a run completely.

train
  zoo fit --config FILE             train a model (later --config files win, and flags win over them)
  zoo fit --resume [RUN]            continue a run exactly where it stopped
use
  zoo test [--run RUN]              print the metrics of the best checkpoint on the test data
  zoo validate [--run RUN]          print them on the validation data
  zoo predict [--run RUN] …         predict: --prompt "Once", --image cat.png, --data.predict FILE
start
  zoo init FOLDER                   look at your own files and write a config for them
  zoo init TASK                     write a commented config for a task: text, images
  zoo list                          list tasks, data modules, callbacks and configs
inspect
  zoo runs                          list runs with their metrics, compare them, remove them
  zoo doctor                        check whether this machine can train, and what is missing
  zoo plan --config FILE            plan the memory that a training takes on a GPU, without the GPU
  zoo schema                        write the schema by which editors check configs
  zoo completion bash|zsh           print completion for your shell

Example:
  zoo fit --config quickstart --data.train my.txt
See also: zoo fit --help, zoo fit --model zoo.CausalLM --help"""
_EXAMPLES = {
    "fit": ("trains a model", "zoo fit --config quickstart --data.train my.txt --trainer.max_epochs 3"),
    "validate": ("prints the metrics on the validation data", "zoo validate --run runs/quickstart/1"),
    "test": ("prints the metrics on the test data and keeps them in the run", "zoo test --run runs/quickstart/1"),
    "predict": ("predicts with the best checkpoint of a run", 'zoo predict --prompt "The for statement"'),
}
_WHAT = """\
settings
  --config FILE                     a config. Several are merged: later ones win, and flags win over all
  --model CLASS, --model.KEY        the task: {tasks}, or your own
  --data CLASS, --data.KEY          the data module: {data}
  --data.train SOURCE               the training data: a file, a folder, or a data set of the hub
  --print_config                    print the merged config with every default, and stop"""
_LONG = """\
training
  --model.optimizer CLASS           such as torch.optim.AdamW. Its arguments: --model.optimizer.lr,
                                    --model.optimizer.weight_decay
  --trainer.max_epochs N            passes over the training data
  --trainer.max_steps N             optimizer steps. The run ends at whichever limit comes first
  --checkpoint.every_n_minutes N    minutes between two checkpoints
hardware
  --trainer.accelerator cpu|gpu     the default is auto
  --trainer.precision P             auto, 16-mixed, bf16-mixed or 32-true
  --model.micro_batch_size N        samples that go through the GPU at a time. The result stays the same"""
_RUN = """\
run
  --run RUN                         a path (runs/gpt2/3) or a name. The default is the latest run"""
_WHERE = {
    "fit": """\
run
  --name NAME                       write to runs/NAME/1, 2 … The default is the name of the config
  --resume [RUN]                    continue this run, or the latest one
  --allow-change KEY                accept that this setting differs from the one before""",
    "predict": _RUN
    + """
inputs
{inputs}
  --data.predict FILE               many inputs
  --model.sampling.KEY VALUE        how text is generated: max_new_tokens, temperature, top_k, top_p""",
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
    groups = [
        first,
        *([_LONG] if name == "fit" else []),
        _WHERE.get(name, _RUN).format(inputs=_inputs(ours["DataModule"])),
    ]
    classes = f"--model {ours['Task'][0]} --help, --data {ours['DataModule'][0]}, --trainer, --checkpoint"
    ending = f"Example:\n  {example}\nAll keys: zoo {name} {classes}"
    return "\n".join([f"zoo {name} {what}.", *groups, ending])


def _inputs(data: Sequence[str]) -> str:
    """A line for each flag by which a data module takes a single input."""
    found = {short: name for name in data for short in load().definitions[name].get("x-shorthands", {})}
    return "\n".join(f"{f'  --{short} INPUT':<{INDENT}}one input for {name}" for short, name in found.items())


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
    about += [f"Default: {shown(default)}"] if default is not None else []
    text = textwrap.wrap(". ".join(about), WIDTH - INDENT) or [""]
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
        return f"A class: {base}"
    return "One of " + ", ".join(choices) if len(choices) > 1 else ""
