"""zoo plan: what a training takes of a GPU's memory, how many samples fit at a time, and what would save memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from zoo import errors
from zoo.command import gpu
from zoo.command.invocation import Request
from zoo.command.settings import schema
from zoo.command.settings.problems import MISSING, complain
from zoo.errors import ConfigError, UserError
from zoo.files.paths import write_text
from zoo.vram import gpus
from zoo.vram.gpus import Gpu

USAGE = """\
zoo plan --config FILE [settings] plans the memory that a training takes on a GPU. It says how many samples fit at a
time, and what would save memory. It needs no GPU, no data and no weights: the network runs on tensors without content.

  --vram 12GB | "RTX 4070 Ti"       the GPU, default that of this machine, or 12GB
  --labels N                        classes of the data, which is not read, default 10
  --write FILE                      write what fits to FILE, for a second --config
  --json                            print all numbers, in bytes
  further flags                     settings, as zoo fit has them

for example
  zoo plan --config gpt2_finetune --vram "RTX 4070 Ti"

The plan was not compared with a GPU yet. Where memory runs out all the same, zoo fit halves the micro-batch."""
_GB = 1e9
_COST = {
    "gradient_checkpointing": "about a third slower, the result is the same",
    "trainer.precision": "faster, rounds more",
    "freeze": "trains less: another result",
}
_OTHER_RESULT = "another result"


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    own, flags = _own(argv)
    if {"--run", "--resume", "--name"} & {flag.partition("=")[0] for flag in flags}:
        raise ConfigError("zoo plan takes a config: zoo plan --config FILE. A run's own is RUN/config.yaml.")
    request = Request.parse(["fit", *flags, "--trainer.accelerator", "cpu"])
    settings, problems = request.settings(schema.load())
    problems = [p for p in problems if not (p.code == MISSING and p.line.startswith("data."))]
    if problems:
        return complain(problems)
    question, card = _question(request, settings, own)
    found = _asked(question)
    if own["--write"]:
        _write(str(own["--write"]), found)
    if own["--json"]:
        card_told = {"gpu": card.name, "total": card.total, "budget": question["budget"], "measured": False}
        print(json.dumps({**card_told, "batch": question["batch"], **found}, indent=2))
    else:
        print("\n".join(_text(found, question, card)))
    return 0


def _own(argv: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags of this command, and all others."""
    own: dict[str, Any] = {"--vram": None, "--labels": None, "--write": None, "--json": False}
    flags, words = [], [*argv]
    while words:
        name, equals, value = (word := words.pop(0)).partition("=")
        if name == "--json":
            own[name] = True
        elif name in own:
            if not equals and (not words or words[0].startswith("--")):
                raise ConfigError(f"{name} needs a value.")
            own[name] = value if equals else words.pop(0)
        else:
            flags.append(word)
    if own["--labels"] is not None and not (own["--labels"].isdecimal() and int(own["--labels"]) >= 2):
        raise ConfigError(f"--labels is {own['--labels']!r}; expected a whole number, 2 or more.")
    return own, flags


def _question(request: Request, settings: dict[str, Any], own: dict[str, Any]) -> tuple[dict[str, Any], Gpu]:
    known, trainer = schema.load(), settings["trainer"]
    merged = request.merged(known)
    data = settings["data"].get("init_args", {})
    batch = data.get("batch_size") or merged.expected("data.batch_size").get("default") or 8
    limit = None if trainer.get("vram") is None else gpus.in_bytes(trainer["vram"])
    card = _card(own["--vram"], limit)
    freeze = [c for c in _choices(merged.expected("model.freeze")) if c not in ("none", "feature_encoder")]
    callbacks = trainer.get("callbacks") or []
    return {
        "model": settings["model"],
        "micro_batch_size": settings["model"].get("init_args", {}).get("micro_batch_size", "auto"),
        "batch": batch,
        "eval_batch": data.get("eval_batch_size") or batch,
        "precision": "16-mixed" if trainer.get("precision", "auto") == "auto" else trainer["precision"],
        "clip_norm": trainer.get("gradient_clip_val", 1.0),
        "ema": any(one.get("class_path", "").rpartition(".")[2] == "EMA" for one in callbacks),
        "labels": int(own["--labels"] or 10),
        "freeze": freeze[0] if freeze else None,
        "capability": card.capability,
        "budget": card.budget(limit),
    }, card


def guess(request: Request, settings: dict[str, Any], budget: int) -> tuple[int, int] | None:
    """How many samples of a command's batch fit into `budget` bytes at a time, and the bytes that they take.

    None where that cannot be told, or nothing fits.
    """
    try:
        question, _ = _question(request, settings, {"--vram": None, "--labels": None})
        found = _asked({**question, "budget": budget, "micro_batch_size": "auto", "only_what_fits": True})
    except UserError:
        return None
    return (found["fits"], found["training"]["reserved"]) if found["fits"] else None


def _choices(expected: dict[str, Any]) -> list[str]:
    branches = expected.get("anyOf", [expected])
    return [choice for branch in branches for choice in branch.get("enum", [])]


def _card(asked: str | None, limit: int | None) -> Gpu:
    if asked:
        return gpus.named(asked)
    if found := gpu.listed():
        one = found[0]
        return Gpu(one.name, int(one.total * 2**20), int(one.free * 2**20), one.capability)
    size = 12 * 10**9 if limit is None else limit + 2 * gpus.CONTEXT + int(limit * gpus.MARGIN)
    name = "12 GB are assumed, as this machine has no GPU" if limit is None else "as large as trainer.vram asks"
    return Gpu(name, size, size, (8, 9))


def _asked(question: dict[str, Any]) -> dict[str, Any]:
    """The answer of the process that plans.

    Raises:
        UserError: what it could not plan, in a line.
    """
    command = [sys.executable, "-m", "zoo.command.plan_process"]
    surroundings = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    shows = sys.stderr.isatty()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        json.dump(question, child.stdin)
        child.stdin.close()
        for line in child.stdout:
            said = json.loads(line)
            if shows:
                print(f"\r\033[Kplanning: {said.get('progress', '')}", end="", file=sys.stderr, flush=True)
            if "error" in said or "plan" in said:
                break
        else:
            said = {"error": "the plan came to no end; what went wrong stands above", "kind": "UserError"}
    if shows:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if "error" in said:
        kind: type[UserError] = getattr(errors, said["kind"], ConfigError)
        raise kind(said["error"])
    return dict(said["plan"])


# What is shown --------------------------------------------------------------------------------------------------


def _text(found: dict[str, Any], question: dict[str, Any], card: Gpu) -> list[str]:
    budget, batch, here = question["budget"], question["batch"], found["training"]
    lines = [
        f"GPU         {card.name}: {_gb(budget)} of {_gb(card.total)} for torch; CUDA takes up to {_gb(gpus.CONTEXT)}, "
        f"{gpus.MARGIN:.0%} stay free",
        f"training    {_verdict(found, batch, budget)}",
        f"            with {here['size']} at a time: {_gb(here['reserved'])} reserved, {_gb(here['allocated'])} "
        f"allocated at the peak",
        f"            {' · '.join(f'{name} {_gb(size)}' for name, size in _ranked(here['parts']))}",
    ]
    if largest := found.get("largest"):
        lines.append(f"            a larger data.batch_size has room too: {largest} samples fit at once")
    if one := found["evaluation"]:
        fits = "fits" if one["reserved"] <= budget else "does not fit: smaller pieces are found out when it begins"
        lines.append(f"evaluation  with {one['size']} at a time: {_gb(one['reserved'])}; {fits}")
    else:
        lines.append("evaluation  not planned, as it looks at what the network says")
    lines += ["", "samples at a time   reserved   allocated"]
    lines += [f"{row['size']:>17}   {_gb(row['reserved']):>8}   {_gb(row['allocated']):>9}" for row in found["table"]]
    lines += ["", f"what saves memory, with {here['size']} at a time"]
    for one in found["changes"]:
        if one["saved"] > 0:
            lines += [f"  {_gb(one['saved']):>7} less   {_line(one['changes']):<45} {_cost(one['changes'])}".rstrip()]
    if not any(one["saved"] > 0 for one in found["changes"]):
        lines.append("  nothing that zoo knows of")
    if "cure" in found:
        lines += ["", _cured(found["cure"])]
    lines += ["", "This is planned, not measured: zoo plan was not compared with a GPU yet."]
    return lines


def _verdict(found: dict[str, Any], batch: int, budget: int) -> str:
    size, asked = found["fits"], found["training"]["size"]
    if not size and found["fixed"]:
        return f"the {asked} samples that batch statistics keep together do not fit into {_gb(budget)}"
    if not size:
        return f"not even one sample fits into {_gb(budget)}"
    if found["fixed"]:
        return f"fits: batch statistics are taken over {size} samples, which stay together"
    pieces = -(-batch // size)
    at_once = (
        f"the batch of {batch} fits at once"
        if pieces == 1
        else f"{size} samples at a time fit: {batch} in {pieces} pieces"
    )
    return at_once if found["as_it_is_fits"] else f"{asked} at a time do not fit; {at_once}"


def _cured(cure: dict[str, Any] | None) -> str:
    if cure is None:
        return "all of it together does not suffice: a smaller network, or a larger GPU"
    return f"together these make it fit ({_gb(cure['reserved'])}): {_line(cure['changes'])}"


def _ranked(parts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(parts.items(), key=lambda part: -part[1])


def _key(name: str) -> str:
    return name if name.startswith("trainer.") else f"model.{name}"


def _line(changes: dict[str, Any]) -> str:
    return ", ".join(f"{_key(name)}: {json.dumps(value).strip(chr(34))}" for name, value in changes.items())


def _cost(changes: dict[str, Any]) -> str:
    return ", ".join(dict.fromkeys(_COST.get(name, _OTHER_RESULT) for name in changes))


def _gb(size: float) -> str:
    return f"{size / _GB:.2f} GB" if size < 10 * _GB else f"{size / _GB:.1f} GB"


def _write(path: str, found: dict[str, Any]) -> None:
    """An overlay with the micro-batch that fits, or with the changes that make one sample fit."""
    changes = dict((found.get("cure") or {}).get("changes", {}))
    if found["fits"] and not found["fixed"]:
        changes["micro_batch_size"] = found["fits"]
    if not changes:
        raise ConfigError(f"--write {path}: there is nothing to write, as no setting that zoo knows makes it fit.")
    trainer = {name.partition(".")[2]: value for name, value in changes.items() if name.startswith("trainer.")}
    model = {name: value for name, value in changes.items() if not name.startswith("trainer.")}
    overlay = {"model": {"init_args": model}} | ({"trainer": trainer} if trainer else {})
    write_text(Path(path), yaml.safe_dump(overlay, sort_keys=False))
