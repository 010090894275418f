"""Whether any config or command line, however broken, gets something else than lines and an exit code.

Mutates a good config and its flags, from a seed, and asks what is answered before torch is imported; with --parse also
what the parser and its classes make of those that are accepted. Counts what came back; what raised or took long is
printed with its config and flags.

python tools/fuzz_settings.py [--count 5000] [--seed 0] [--parse]
"""

# ruff: noqa: E501 – tables of odd words

import argparse
import contextlib
import io
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

GOOD = """\
model:
  class_path: zoo.CausalLM
  init_args:
    architecture: {model_type: gpt2, n_layer: 2, n_head: 2, n_embd: 16}
    vocab_size: 300
    max_length: 16
    dropout: 0.0
    sampling: {top_k: 3, temperature: 0.5}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.001, betas: [0.9, 0.95], weight_decay: 0.1}}
data:
  class_path: zoo.TextData
  init_args: {train: a.txt, batch_size: 4, separator: null, validation_fraction: 0.1}
trainer: {max_epochs: 1, devices: 1, precision: 32-true, callbacks: [{class_path: zoo.EMA, init_args: {decay: 0.9}}]}
checkpoint: {keep: 2, every_n_steps: 5}
seed_everything: 1
"""
ODD: list[Any] = [
    "", None, True, -1, 0, 1, 2**70, 1e999, float("nan"), -0.0, 1.5, 5000 * "x", int(4000 * "9"), "~nobody/x", "~", "..",
    ".", "/", "a\0b", "\t", "\x07", "\u0967", "é\u202e", "x y", "[", "{", "]", ":", "&a", "*a", "<<", "=", "!!int ''",
    "0x_", "08", "1_0", "1:30", "2020-01-01", "null", "nan", "-inf", "1e5", "auto", "latest", "--x", "-", "os.system",
    "zoo.Task", "zoo.Trainer", "zoo.EMA", "zoo.", ".zoo", "zoo..X", "zoo.CausalLM.fit", "zoo.tasks", "my_lab.X",
    "torch.optim.SGD", "torch.optim", "SGD", "torch.nn.Linear", "a.b.c.d", "c.yaml", "python:os", "*.txt", "[*",
    [], {}, [0, 5], [None], [[]], [{}], {"a": {"b": 1}}, {"class_path": "zoo.EMA"}, {"class_path": None},
    {"init_args": 3}, {"class_path": 3, "init_args": []}, {"dict_kwargs": {"a": 1}}, {"": 1}, {"1": 2}, [1, "x", {"y": []}],
]  # fmt: skip
TEXTS = (
    "\t", "\0", "\ufeff", "\r", "---\n", "...\n", "%YAML 9\n", "? [a]\n", "&a ", "*a", "<<: *a", "<<: 1\n", "!!int ''",
    "!!python/object/apply:os.system [ls]", "!!binary x", "!x ", "0x_", "{", "}", "[", "]", ": ", "- ", "#", "'", '"', "|\n",
    ">\n", "\u2028", "\x85", 60 * "[", "@", "`", "a: b: c\n", "\n\n", "  ",
)  # fmt: skip
FLAGS = (
    "model", "data", "trainer", "checkpoint", "seed_everything", "config", "name", "run", "resume", "allow-change",
    "prompt", "image", "print_config", "conifg", "model.max_length", "model.optimizer", "model.optimizer.lr", "model.lr",
    "model.init_args.dropout", "model.class_path", "model.architecture.n_layer", "model.architecture.a.b.c",
    "model.sampling", "model.sampling.top_k", "model.dict_kwargs.x", "data.train", "data.train+", "trainer.callbacks",
    "trainer.callbacks+", "trainer.callbacks.decay", "trainer.callbacks.0.decay", "trainer.devices", "trainer.logger",
    "trainer.logger.save_dir", "trainer.max_epohs", "trainer.strategy", "trainer.plugins", "trainer..x", "trainer.", ".",
    "", "model.help", "checkpoint.keep", "batch_size", "x.y.z",
)  # fmt: skip
SECONDS = 5


class TookLongError(BaseException):
    pass


def cases(seed: int, count: int) -> Iterator[tuple[str, list[str]]]:
    """Configs as text, and command lines that name them as c.yaml."""
    for i in range(count):
        draw = random.Random(f"{seed} {i}")
        tree = yaml.safe_load(GOOD)
        for _ in range(draw.choice((0, 1, 1, 2, 4))):
            _mutate(tree, draw)
        text = yaml.safe_dump(tree, allow_unicode=draw.random() < 0.5, sort_keys=False)
        for _ in range(draw.choice((0, 0, 0, 1, 1, 3))):
            at, cut = draw.randrange(len(text) + 1), draw.choice((0, 0, 1, 5, 100))
            text = text[:at] + draw.choice(TEXTS) + text[at + cut :]
        command = draw.choice(("fit", "fit", "fit", "test", "predict", "validate"))
        flags = [word for _ in range(draw.choice((0, 0, 1, 1, 3))) for word in _flag(draw)]
        where = draw.choice((0, len(flags)))
        yield text, [command, *flags[:where], "--config", "c.yaml", *flags[where:]]


def _mutate(tree: Any, draw: random.Random) -> None:
    """Change one place, at any depth."""
    while True:
        keys = [*tree] if isinstance(tree, dict) else [*range(len(tree))]
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(tree[key], (dict, list)) and tree[key] and draw.random() < 0.75:
            tree = tree[key]
            continue
        what = draw.random()
        if what < 0.6:
            tree[key] = draw.choice(ODD)
        elif what < 0.75:
            del tree[key]
        elif isinstance(tree, dict):
            name = str(key)
            at = draw.randrange(len(name) + 1)
            tree[draw.choice((name[:at] + name[at + 1 :], name[:at] + draw.choice("xyz_.+-") + name[at:]))] = tree.pop(
                key
            )
        return


def _flag(draw: random.Random) -> list[str]:
    name, value = f"--{draw.choice(FLAGS)}", draw.choice(ODD)
    text = (
        (value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)).replace("\0", "").strip()
    )
    text = text.removesuffix("\n...")
    return draw.choice(([name, text], [f"{name}={text}"], [name], [text]))


def answer(argv: list[str], parse: bool = False) -> str:
    """How a command line is answered: accepted, or refused with an exit code.

    Raises:
        Exception: that is no answer.
        TookLongError: nor is this.
    """
    from zoo.command import before_torch

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS if not parse else 60)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = before_torch.answer(argv)
            if code is None and parse:
                code = _parsed([*argv, "--print_config"])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    lines = said.getvalue().splitlines()
    if code not in (None, 0) and not (lines and all(line.startswith("zoo: ") for line in lines)):
        raise AssertionError(f"exit code {code} with {lines}")
    return "accepted" if code is None else f"exit code {code}"


def _parsed(argv: list[str]) -> int | None:
    from zoo.command.lightning_cli import main

    try:
        return main(argv) or None
    except SystemExit as ended:
        return int(ended.code or 0) or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parse", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("a.txt").write_text(100 * "Once upon a time.\n")
        seen: Counter[str] = Counter()
        for text, argv in cases(options.seed, options.count):
            Path("c.yaml").write_text(text, encoding="utf-8", newline="")
            try:
                seen[answer(argv, options.parse)] += 1
            except (Exception, TookLongError) as error:
                seen[kind := type(error).__name__] += 1
                print(f"{kind}: {str(error)[:300]}\n{argv}\n{text}\n")
        print(dict(seen))


if __name__ == "__main__":
    main()
