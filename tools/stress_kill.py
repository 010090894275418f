"""Kill a training at random instants, many times, and look whether anything is lost. Then flip bits in checkpoints.

    python tools/stress_kill.py --kills 200 --flips 50

Each run is one of a few small trainings: of a language model on the text inside Python, of a GAN and of a task of two
phases (tests/toy_pairs.py) on random numbers. It is killed with SIGKILL and resumed until it ends;
then its metrics.csv and its last weights must be those of a run that nobody disturbed, to the last bit. After every
kill each checkpoint must be whole, and each row written so far must be one of the undisturbed run's. A share of the
kills waits for a moment that is hard: a checkpoint half written, a validation half done.
"""

import argparse
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import toy_pairs  # noqa: F401 - imported once, before the forks

from zoo.command.lightning_cli import main as zoo_command
from zoo.data.text import TextData  # noqa: F401 - imported once, before the forks
from zoo.loop import checkpoint
from zoo.runs import run
from zoo.task import Task
from zoo.tasks.causal_lm import CausalLM  # noqa: F401

FIT = [
    *("fit", "--name=stress", "--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.01"),
    *("--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.log_every_n_steps=1"),
]
TINY = [
    *(*FIT, "--model=zoo.CausalLM", "--model.vocab_size=280", "--model.max_length=16", "--model.dropout=0.1"),
    "--model.architecture={model_type: gpt2, n_layer: 1, n_head: 2, n_embd: 16, n_positions: 16}",
    *("--data=zoo.TextData", "--data.train=text.txt", "--data.batch_size=7", "--data.eval_batch_size=5"),
]
TOY = [*FIT, "--data=toy.ToyData", "--checkpoint.every_n_steps=5", "--trainer.max_epochs=12"]
MODES = {
    "every step": [*TINY, "--checkpoint.every_n_steps=1", "--trainer.max_epochs=2"],
    "every 7 steps, validation twice an epoch": [
        *(*TINY, "--checkpoint.every_n_steps=7", "--trainer.max_epochs=3", "--trainer.val_check_interval=0.5"),
    ],
    "micro-batches, two workers": [
        *(*TINY, "--checkpoint.every_n_steps=5", "--trainer.max_epochs=2", "--model.micro_batch_size=3"),
        "--data.num_workers=2",
    ],
    "max_steps, only validations save": [
        *(*TINY, "--trainer.max_steps=50", "--trainer.max_epochs=4", "--trainer.val_check_interval=0.25"),
    ],
    "a GAN, whose critic learns oftener than its generator": [*TOY, "--model=toy_pairs.ToyGAN"],
    "two phases, each with an optimizer": [*TOY, "--model=toy_pairs.ToyPhases"],
}
MOMENTS = ("anywhere", "in a save", "in a validation")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    asked = parser.parse_args()
    random.seed(asked.seed)
    torch.set_num_threads(1)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="stress-"))
    stress = Stress(folder.resolve())
    while stress.kills.total() < asked.kills:
        stress.disturb(list(MODES)[stress.runs % len(MODES)])
    stress.table()
    flips(stress.reference(next(iter(MODES))), asked.flips)
    return 1 if stress.failures.total() else 0


class Stress:
    """Runs, kills and what was found."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.runs = 0
        self.kills: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.rows = self.leftovers = self.checked = 0
        self.phase = mmap.mmap(-1, 1)
        """Shared with the child: whether it is validating."""
        self.seconds = 4.0

    def reference(self, mode: str) -> Path:
        """The run directory of an undisturbed run of the mode."""
        home = self.folder / f"reference {mode}"
        if not home.exists():
            _prepare(home)
            begun = time.monotonic()
            assert self._wait(self._start(home, MODES[mode]), None) == 0, (home / "log").read_text()
            self.seconds = time.monotonic() - begun
        return home / "runs/stress/1"

    def disturb(self, mode: str) -> None:
        """One run to its end, however often it is killed."""
        expected = self.reference(mode)
        home = self.folder / f"run {self.runs}"
        _prepare(home)
        self.runs += 1
        found = home / "runs/stress/1"
        while True:
            begun = (found / "config.yaml").exists()
            command = ["fit", "--resume", "runs/stress/1"] if begun else MODES[mode]
            moment = random.choice(MOMENTS)
            if not begun and found.parent.exists():
                shutil.rmtree(found, ignore_errors=True)  # killed before there was a config, with no more than a lock
            code = self._wait(self._start(home, command), self._killer(found, moment))
            if code == 0:
                break
            if code != -signal.SIGKILL:
                self.failures["exit code"] += 1
                print((home / "log").read_text()[-2000:], file=sys.stderr)
                break
            self.kills[moment] += 1
            self._inspect(found, expected)
        self._compare(found, expected)
        print(f"run {self.runs}, {mode}: {self.kills.total()} kills so far, failures {dict(self.failures)}", flush=True)

    def _start(self, home: Path, argv: list[str]) -> int:
        if pid := os.fork():
            return pid
        os.setsid()
        os.chdir(home)
        log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        self._tell_phase()
        try:
            code = zoo_command(argv)
        except BaseException as error:
            sys.stderr.write(repr(error))
            code = 70
        sys.stdout.flush()
        os._exit(code)

    def _tell_phase(self) -> None:
        step = Task.validation_step

        def told(task: Task, *args: object) -> None:
            self.phase[0] = 1
            step(task, *args)  # type: ignore[arg-type]
            self.phase[0] = 0

        Task.validation_step = told  # type: ignore[method-assign]

    def _killer(self, found: Path, moment: str) -> Callable[[], bool]:
        """Whether now is the time."""
        at = time.monotonic() + random.uniform(0.2, 1.1 * self.seconds)
        self.phase[0] = 0

        def due() -> bool:
            if time.monotonic() < at:
                return False
            if moment == "in a save":
                return any((found / "checkpoints").glob(".step*.tmp"))
            return moment == "anywhere" or self.phase[0] == 1

        return due

    def _wait(self, pid: int, due: Callable[[], bool] | None) -> int:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if due and due():
                os.killpg(pid, signal.SIGKILL)
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            time.sleep(0.0005 if due else 0.05)

    def _inspect(self, found: Path, expected: Path) -> None:
        self.leftovers += len([*found.glob("checkpoints/.*.tmp")])
        for path in run.checkpoints(found):
            self.checked += 1
            self.failures["torn checkpoints"] += checkpoint.damage(path) is not None
        if (table := found / "metrics.csv").is_file():
            right = {_cells(line, _lines(expected)[0]) for line in _lines(expected)[1:]}
            header, *rows = table.read_text().splitlines(keepends=True)
            whole = [row for row in rows if row.endswith("\n")]
            self.rows += len(whole)
            self.failures["rows that differ"] += sum(
                _cells(row.rstrip("\n"), header.rstrip("\n")) not in right for row in whole
            )

    def _compare(self, found: Path, expected: Path) -> None:
        self.failures["metrics.csv differs"] += _lines(found) != _lines(expected)
        a, b = (checkpoint.read(run.checkpoint_of(where, "last")) for where in (found, expected))
        same = all(torch.equal(a["state_dict"][name], tensor) for name, tensor in b["state_dict"].items())
        self.failures["last weights differ"] += not same
        self.failures["best differs"] += run.read_metrics(found) != run.read_metrics(expected)
        self.failures["files left over"] += len([*found.rglob(".*")])

    def table(self) -> None:
        print(f"\n| kills ({', '.join(f'{n} {moment}' for moment, n in self.kills.items())}) | {self.kills.total()} |")
        print("|---|---|")
        print(f"| runs ended, each compared with an undisturbed one | {self.runs} |")
        print(f"| checkpoints checked after kills | {self.checked} |")
        print(f"| rows of metrics.csv compared after kills | {self.rows} |")
        print(f"| half-written files found after kills, swept by the next start | {self.leftovers} |")
        for name, count in self.failures.items():
            print(f"| {name} | {count} |")


def flips(expected: Path, count: int) -> None:
    """Flip one random bit of a checkpoint, many times, and look whether it is found."""
    path = run.checkpoints(expected)[0]
    content, found = path.read_bytes(), 0
    for _ in range(count):
        at = random.randrange(8 * len(content))
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        found += checkpoint.damage(path) is not None
    path.write_bytes(content)
    print(f"| bits flipped in a checkpoint of {len(content):,} bytes, found | {found} of {count} |")


def _prepare(home: Path) -> None:
    from pydoc_data.topics import topics

    home.mkdir(parents=True)
    (home / "text.txt").write_text("\n".join(topics[name] for name in sorted(topics))[:6000])


def _lines(found: Path) -> list[str]:
    return (found / "metrics.csv").read_text().splitlines()


def _cells(line: str, header: str) -> frozenset[tuple[str, str]]:
    return frozenset((name, cell) for name, cell in zip(header.split(","), line.split(","), strict=False) if cell)


if __name__ == "__main__":
    sys.exit(main())
