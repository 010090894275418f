"""How fast zoo trains text, beside a bare loop, HF Trainer, TRL, LitGPT and the padded recipe, in one run.

    uv run --with trl --with accelerate python tools/bench_text.py --text tinyshakespeare.txt --tokenizer gpt2
    … --litgpt-python OTHER/bin/python          LitGPT wants other versions, so it has an environment of its own

Every baseline trains the same Llama from the same kind of weights with AdamW (fused), constant rate and clipping on the
same text, line by line: a line is a document. Baselines take turns, each in a process of its own, with the same number
of threads. Tokens are real ones: predicted, neither padding nor the first of a document. Time is that of training steps
alone, the first two left out for the rate; zoo has what its command asks of the allocators, and so has "bare_memory", a
bare loop. The validation loss is taken between steps, by the same code for all.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from zoo.command import memory_settings

PEERS = ("accelerate", "trl")
SIZES = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4}
RATE, BATCH, LENGTH, PADDED = 1e-3, 8, 256, 512
OnStep = Callable[[Any, int], bool]
"""After a step: the network, the real tokens of the step; answers whether to stop."""


# What every baseline is given ----------------------------------------------------------------------------------------


def prepare(text: Path, tokenizer: str, folder: Path) -> None:
    """Train and validation lines, and zoo's packed windows of them for those who take ready-made ones."""
    from datasets import Dataset
    from transformers import AutoTokenizer

    from zoo.samples import TextSample
    from zoo.tokens.processors import TokenProcessor

    lines = [line for line in text.read_text("utf-8").splitlines() if line.strip()]
    held = len(lines) // 20
    (folder / "train.txt").write_text("\n".join(lines[:-held]), "utf-8")
    (folder / "validation.txt").write_text("\n".join(lines[-held:]), "utf-8")
    words = AutoTokenizer.from_pretrained(tokenizer)
    words.save_pretrained(folder / "tokenizer")
    for packing in (True, "concat"):
        processor = TokenProcessor(words, LENGTH, LENGTH, packing)
        for split in ("train", "validation"):
            samples = [TextSample(line) for line in (folder / f"{split}.txt").read_text("utf-8").splitlines()]
            windows = processor.pack(Dataset.from_list(processor.encode(samples)).with_format("numpy"))
            full = [w for w in windows if len(w["input_ids"]) == LENGTH]  # tensors of one size for everyone
            named = {
                k: torch.stack([torch.tensor(w[k], dtype=torch.long) for w in full])
                for k in ("input_ids", "targets", "position_ids")
            }
            torch.save(named, folder / f"{split}-{packing}.pt")


def build(folder: Path) -> Any:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return LlamaForCausalLM(LlamaConfig(**SIZES, vocab_size=len(words), max_position_embeddings=PADDED))


def shifted(windows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Targets as transformers wants its labels: not shifted."""
    labels = torch.full_like(windows["targets"], -100)
    labels[:, 1:] = windows["targets"][:, :-1]
    return labels


# The baselines -------------------------------------------------------------------------------------------------------


def zoo(folder: Path, on_step: OnStep, packing: Any = True) -> None:
    from functools import partial

    from lightning.pytorch import Callback

    from zoo import CausalLM, TextData, Trainer

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, index: int) -> None:
            trainer.should_stop |= on_step(task.network, int((batch["targets"] != -100).sum()))

    task = CausalLM(
        architecture={"model_type": "llama", **SIZES, "max_position_embeddings": PADDED},
        tokenizer=str(folder / "tokenizer"),
        max_length=LENGTH,
        packing=packing,
        schedule="constant",
        optimizer=partial(torch.optim.AdamW, lr=RATE),
    )
    plain = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False, "limit_val_batches": 0}
    plain |= {"num_sanity_val_steps": 0, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=50, gradient_clip_val=1.0, callbacks=[Watch()], **plain)
    files = {"train": str(folder / "train.txt"), "validation": str(folder / "validation.txt")}
    data = TextData(**files, documents="lines", batch_size=BATCH)
    trainer.fit(task, datamodule=data)


def zoo_concat(folder: Path, on_step: OnStep) -> None:
    """Attention looks across the ends of lines: no mask."""
    zoo(folder, on_step, "concat")


def bare(folder: Path, on_step: OnStep) -> None:
    """A loop as one writes it by hand, on the ready-made windows."""
    network, windows = build(folder).train(), torch.load(folder / "train-True.pt")
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, fused=True)
    while True:
        for rows in torch.randperm(len(windows["input_ids"])).split(BATCH):
            batch = {name: tensor[rows] for name, tensor in windows.items()}
            hidden = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"], "use_cache": False}
            logits = network(**hidden).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            if on_step(network, int((batch["targets"] != -100).sum())):
                return


def bare_memory(folder: Path, on_step: OnStep) -> None:
    """The bare loop, with the memory settings of zoo's command."""
    bare(folder, on_step)


def _hf_watch(on_step: OnStep, count: Callable[[], int]) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
            control.should_training_stop |= on_step(model, count())
            return control

    return Watch()


def _hf_settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "out"), "use_cpu": True, "per_device_train_batch_size": BATCH, "report_to": [],
        "save_strategy": "no", "logging_strategy": "no", "learning_rate": RATE, "lr_scheduler_type": "constant",
        "num_train_epochs": 50, "max_grad_norm": 1.0, "disable_tqdm": True, "dataloader_pin_memory": False,
    }  # fmt: skip


def _hf_trainer(folder: Path, on_step: OnStep, rows: list[dict[str, Any]]) -> None:
    from transformers import Trainer, TrainingArguments, default_data_collator

    counts: list[int] = []

    def collate(items: list[Any]) -> Any:
        batch = default_data_collator(items)
        counts.append(int((batch["labels"][:, 1:] != -100).sum()))
        return batch

    watch = _hf_watch(on_step, lambda: counts.pop(0))
    Trainer(build(folder), TrainingArguments(**_hf_settings(folder)), collate, rows, callbacks=[watch]).train()


def hf_trainer(folder: Path, on_step: OnStep) -> None:
    windows = torch.load(folder / "train-True.pt")
    columns = {"input_ids": windows["input_ids"], "position_ids": windows["position_ids"], "labels": shifted(windows)}
    _hf_trainer(folder, on_step, [{k: v[i] for k, v in columns.items()} for i in range(len(columns["labels"]))])


def padded(folder: Path, on_step: OnStep) -> None:
    """The recipe that people copy: HF Trainer, every line padded to 512."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder / "tokenizer")
    rows, end = [], words.eos_token_id
    for line in (folder / "train.txt").read_text("utf-8").splitlines():
        ids = torch.tensor([*words(line)["input_ids"], end])[:PADDED]
        gap = PADDED - len(ids)
        mask = torch.cat([torch.ones(len(ids), dtype=torch.long), torch.zeros(gap, dtype=torch.long)])
        ids = torch.cat([ids, torch.full((gap,), end)])
        rows.append({"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)})
    _hf_trainer(folder, on_step, rows)


def trl(folder: Path, on_step: OnStep) -> None:
    """SFTTrainer, with its own packing of the same lines."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    words = AutoTokenizer.from_pretrained(folder / "tokenizer")
    words.pad_token = words.eos_token
    lines = Dataset.from_dict({"text": (folder / "train.txt").read_text("utf-8").splitlines()})
    own = {"packing": True, "packing_strategy": "wrapped", "max_length": LENGTH}
    settings = SFTConfig(**_hf_settings(folder), **own, bf16=False, gradient_checkpointing=False)
    watch = _hf_watch(on_step, lambda: BATCH * (LENGTH - 1))
    trainer = SFTTrainer(build(folder), settings, train_dataset=lines, processing_class=words, callbacks=[watch])
    trainer.train()


def litgpt(folder: Path, on_step: OnStep) -> None:
    """LitGPT's GPT and its chunked loss, in the loop of its pretraining, without accumulation."""
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    windows = torch.load(folder / "train-joined.pt")
    vocabulary = len(json.loads((folder / "tokenizer" / "tokenizer.json").read_text("utf-8"))["model"]["vocab"])
    torch.manual_seed(0)
    config = Config(
        n_layer=4, n_head=4, n_embd=256, intermediate_size=704, block_size=PADDED, vocab_size=vocabulary,
        padded_vocab_size=vocabulary, norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", bias=False,
        rotary_percentage=1.0, parallel_residual=False,
    )  # fmt: skip
    network = GPT(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, fused=True)
    while True:
        for rows in torch.randperm(len(windows["input_ids"])).split(BATCH):
            ids, targets = windows["input_ids"][rows], windows["targets"][rows]
            loss = chunked_cross_entropy(network(ids), targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if on_step(network, int((targets != -100).sum())):
                return


BASELINES = {f.__name__: f for f in (zoo, zoo_concat, bare, bare_memory, hf_trainer, trl, padded, litgpt)}
SAME_MEMORY = {"zoo", "zoo_concat", "bare_memory"}


# Measuring --------------------------------------------------------------------------------------------------------


def measure(baseline: str, folder: Path, steps: int, target: float | None, cap: float) -> dict[str, Any]:
    """Train until `steps`, or until the validation loss is `target`, or for `cap` seconds of training."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if baseline in SAME_MEMORY:
        memory_settings.keep_freed_memory()
    validation = torch.load(folder / "validation-True.pt")
    tokens, seconds, losses = [], [], []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = 0.0

    def on_step(network: Any, count: int) -> bool:
        nonlocal started
        if started:
            seconds.append(time.perf_counter() - started)
            tokens.append(count)
        done = len(seconds) >= steps or sum(seconds) > cap
        if target is not None and (done or len(seconds) % 10 == 9):
            losses.append(validation_loss(network, validation))
            done |= losses[-1] <= target
        started = time.perf_counter()
        return done

    BASELINES[baseline](folder, on_step)
    rates = [t / s for t, s in zip(tokens[1:], seconds[1:], strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rate": statistics.median(rates), "seconds": sum(seconds), "loss": losses[-1] if losses else None,
        "grown": (peak - before) / 2**20, "steps": len(seconds),
    }  # fmt: skip


@torch.no_grad()
def validation_loss(network: Any, windows: dict[str, torch.Tensor]) -> float:
    was_training, total, count = network.training, 0.0, 0
    network.eval()
    for rows in torch.arange(min(32, len(windows["input_ids"]))).split(8):
        batch = {name: tensor[rows] for name, tensor in windows.items()}
        logits = network(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        wanted = batch["targets"].flatten()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="sum").item()
        count += int((wanted != -100).sum())
    network.train(was_training)
    return total / count


def in_its_own_process(baseline: str, folder: Path, python: str, **settings: Any) -> dict[str, Any] | None:
    flags = [f"--{name}={value}" for name, value in settings.items()]
    command = [python, __file__, "--baseline", baseline, "--folder", str(folder), *flags]
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    if baseline in SAME_MEMORY:
        quiet["THP_MEM_ALLOC_ENABLE"] = "1"  # as the `zoo` command does
    found = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **quiet}, check=False)
    if found.returncode:
        print(f"{baseline}: {found.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    return json.loads(found.stdout.strip().splitlines()[-1])


def compare(args: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-text-"))
    prepare(args.text, args.tokenizer, folder)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in args.baselines}
    python = {"litgpt": args.litgpt_python or sys.executable}
    for _ in range(args.rounds):
        for baseline in args.baselines:
            steps = 4 if baseline == "padded" else args.steps
            one = in_its_own_process(baseline, folder, python.get(baseline, sys.executable), steps=steps)
            found[baseline] += [one] if one else []
    threads = os.environ["OMP_NUM_THREADS"]
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "lightning", *PEERS) if _has(name)
    )
    print(f"{args.rounds} rounds of {args.steps} steps of {BATCH} x {LENGTH} tokens, {threads} threads, {versions}")
    print("baseline | real tokens/s, median of rounds (min .. max) | zoo is faster by | memory grown by, GB")
    for baseline, runs in found.items():
        if not runs:
            continue
        rates = [run["rate"] for run in runs]
        ratios = [a["rate"] / b["rate"] for a, b in zip(found["zoo"], runs, strict=False)]
        grown = statistics.median(run["grown"] for run in runs)
        rate, faster = statistics.median(rates), statistics.median(ratios)
        print(f"{baseline} | {rate:,.0f} ({min(rates):,.0f} .. {max(rates):,.0f}) | {faster:.2f} | {grown:.2f}")
    if args.target:
        print(f"baseline | seconds of training until the validation loss is {args.target} (else the loss in the end)")
        for baseline in (name for name in args.baselines if name != "litgpt"):
            one = in_its_own_process(baseline, folder, sys.executable, steps=10_000, target=args.target, cap=args.cap)
            if one:
                reached = (
                    f"{one['seconds']:.0f}"
                    if one["loss"] <= args.target
                    else f"none ({one['loss']:.2f} after {one['seconds']:.0f})"
                )
                print(f"{baseline} | {reached}", flush=True)


def _has(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tokenizer")
    parser.add_argument(
        "--baselines", nargs="*", default=["zoo", "zoo_concat", "bare", "bare_memory", "hf_trainer", "trl", "padded"]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--target", type=float)
    parser.add_argument("--cap", type=float, default=120)
    parser.add_argument("--litgpt-python")
    parser.add_argument("--baseline", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    if args.baseline:
        print(json.dumps(measure(args.baseline, args.folder, args.steps, args.target, args.cap)))
    else:
        compare(args)


if __name__ == "__main__":
    main()
