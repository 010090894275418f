"""Disks that are full: one line, an exit code of the table, nothing lost."""

import builtins
import errno
import io
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract_cases import CASES
from tensorboard.summary.writer.record_writer import RecordWriter

from zoo.callbacks import previews
from zoo.command import output
from zoo.errors import DoesNotFitError, OutputError, of_the_disk
from zoo.runs import run
from zoo.tasks.causal_lm import CausalLM

Command = Callable[..., tuple[int, str, str]]
FOLDER = Path("runs/disk/1")


@contextmanager
def nothing_is_written_here() -> Iterator[None]:
    """As on a full disk: below the working directory no file is opened for writing; folders can be made."""
    plain, here = io.open, Path.cwd()

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if {*mode} & {*"wax+"} and not isinstance(file, int) and Path(file).absolute().is_relative_to(here):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(file, mode, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(io, "open", opened)
        patched.setattr(builtins, "open", opened)
        yield


@pytest.fixture
def flags(here: Path, tiny_gpt2: Path, text_file: Path) -> list[str]:
    limits = ["--trainer.max_steps=4", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1", "--name=disk"]
    return [*CASES["causal_lm"](tiny_gpt2, text_file).flags, *limits]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def the_line(complaint: str) -> str:
    (line,) = complaint.splitlines()
    return line


def test_a_run_that_cannot_write_is_refused_before_its_first_step(flags: list[str], zoo_command: Command):
    with nothing_is_written_here():
        code, _, complaint = zoo_command("fit", *flags)
    assert (code, "runs/disk/1" in the_line(complaint)) == (73, True), complaint


def test_so_is_one_whose_folder_is_a_file(flags: list[str], zoo_command: Command):
    Path("runs").touch()
    code, _, complaint = zoo_command("fit", *flags)
    assert (code, "runs/disk cannot be written: Not a directory" in the_line(complaint)) == (73, True)


def test_metrics_are_shown_although_they_cannot_be_kept(flags: list[str], zoo_command: Command):
    assert zoo_command("fit", *flags)[0] == 0
    before = (FOLDER / "metrics.json").read_bytes()
    with nothing_is_written_here():
        code, said, complaint = zoo_command("validate")
        assert (code, "perplexity" in said) == (74, True), complaint
        assert "metrics.json cannot be written" in the_line(complaint)
        code, said, complaint = zoo_command("predict", "--prompt=The")
        assert (code, "cannot be written" in the_line(complaint)) == (74, True)
        code, _, complaint = zoo_command("fit", "--resume", "--trainer.max_steps=6", "--allow-change=trainer.max_steps")
        assert (code, "runs/disk/1 cannot be written" in the_line(complaint)) == (74, True)
    assert (FOLDER / "metrics.json").read_bytes() == before
    assert not [*FOLDER.rglob(".*")]


def test_an_export_that_fails_leaves_the_one_before_and_is_made_up_for(
    flags: list[str], zoo_command: Command, monkeypatch: pytest.MonkeyPatch
):
    assert zoo_command("fit", *flags)[0] == 0
    before = {path.name: path.read_bytes() for path in (FOLDER / "model").iterdir()}
    inner = CausalLM.save_model

    def half(task: CausalLM, folder: Path) -> None:
        inner(task, folder)
        (folder / "model.safetensors").write_bytes(b"half")
        full()

    with monkeypatch.context() as patched:
        patched.setattr(CausalLM, "save_model", half)
        code, _, complaint = zoo_command("fit", "--resume", "--trainer.max_steps=6", "--allow-change=trainer.max_steps")
        assert (code, "No space left" in the_line(complaint)) == (74, True)
    assert {path.name: path.read_bytes() for path in (FOLDER / "model").iterdir()} == before
    assert zoo_command("fit", "--resume")[0] == 0
    assert (FOLDER / "model/model.safetensors").read_bytes() != before["model.safetensors"]
    assert run.read_metrics(FOLDER)["fit"]["eval_settings"]["step"] == 6
    assert not [*FOLDER.rglob(".*")]


LOGGER = """
from lightning.pytorch.loggers import CSVLogger

class Refuses(CSVLogger):
    def log_metrics(self, metrics, step=None):
        raise ConnectionError("the server is gone")
"""


def test_loggers_that_cannot_write_are_left_out_and_the_training_is_the_same(
    flags: list[str], zoo_command: Command, monkeypatch: pytest.MonkeyPatch
):
    assert zoo_command("fit", *flags)[0] == 0
    shutil.move(FOLDER, "undisturbed")
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, "refusing", raising=False)
    Path("refusing.py").write_text(LOGGER)
    monkeypatch.setattr(RecordWriter, "write", full)
    logger = "--trainer.logger={class_path: refusing.Refuses, init_args: {save_dir: .}}"
    code, _, complaint = zoo_command("fit", *flags, logger)
    assert code == 0
    assert sorted(complaint.splitlines()) == [
        "zoo: Refuses cannot write (the server is gone), so the run goes on without it.",
        "zoo: TensorBoardLogger cannot write (No space left on device), so the run goes on without it.",
    ]
    assert (FOLDER / "metrics.csv").read_text() == Path("undisturbed/metrics.csv").read_text()


def test_a_thread_that_cannot_write_says_nothing_and_any_other_error_of_a_thread_is_shown(
    capsys: pytest.CaptureFixture[str],
):
    from zoo.command.silenced_warnings import quiet

    def fails(error: Exception) -> None:
        raise error

    with quiet():
        for error in (OSError(28, "full"), KeyError("ours")):
            thread = threading.Thread(target=fails, args=(error,))
            thread.start()
            thread.join()
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "full" not in said


def test_examples_for_which_there_is_no_memory_are_left_out(capsys: pytest.CaptureFixture[str]):
    class Task:
        def preview(self) -> list[str]:
            raise DoesNotFitError("not even one sample fits")

    assert previews.shown(Task()) == []
    assert "examples are not shown: not even one sample fits" in capsys.readouterr().err


class Full(io.StringIO):
    takes = False

    def write(self, text: str) -> int:
        return super().write(text) if self.takes else full()  # type: ignore[return-value]

    flush = full


def test_what_is_printed_to_a_log_on_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    log = Full()
    stream = output.Patient(log)
    print("lost", file=stream, flush=True)
    log.takes = True
    print("there", file=stream)
    assert log.getvalue() == "there\n"
    assert stream.isatty() is False


def test_a_run_whose_reader_is_gone_goes_on_to_its_end(
    flags: list[str], zoo_command: Command, monkeypatch: pytest.MonkeyPatch
):
    from zoo.command.lightning_cli import main

    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as gone, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", gone)
        assert main(["fit", *flags]) == 0
    assert "fit" in run.read_metrics(FOLDER)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(30, "Read-only file system", "/data/x"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["full", "read-only", "safetensors"],
)
def test_what_libraries_say_of_a_disk_is_one_line(error: Exception):
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        meant = of_the_disk(raised)
        assert isinstance(meant, OutputError)
        assert "cannot be written: " in str(meant)
    assert of_the_disk(ValueError("no disk at all")) is None
    assert of_the_disk(FileNotFoundError(2, "No such file", "x")) is None
