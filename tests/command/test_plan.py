"""zoo plan, as it is typed: on a machine without a GPU, without data and without weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.__main__ import main
from zoo.command import plan
from zoo.command.invocation import Request
from zoo.command.settings import schema

TEXT = ("--config", "quickstart", "--model.max_length", "64")
NARROW = ("--config", "resnet_scratch", "--model.image_size", "32", "--data.batch_size", "64",
          "--model.norm_batch_size", "32")  # fmt: skip


def planned(capsys: Any, *flags: str) -> dict[str, Any]:
    assert main(["plan", *flags, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_fits_is_tried_and_the_next_size_does_not_fit(here: Path, capsys: Any):
    found = planned(capsys, *TEXT, "--vram", "650MB", "--data.batch_size", "256", "--write", "overlay.yaml")
    size, budget = found["fits"], found["budget"]
    tried = {row["size"]: row["reserved"] for row in found["table"]}
    assert 1 < size < 256
    assert tried[size] <= budget < min(reserved for n, reserved in tried.items() if n > size)
    assert yaml.safe_load((here / "overlay.yaml").read_text()) == {"model": {"init_args": {"micro_batch_size": size}}}
    assert sum(found["training"]["parts"].values()) == found["training"]["allocated"] <= found["training"]["reserved"]
    assert found["measured"] is False
    assert [one["saved"] for one in found["changes"]] == sorted(
        (one["saved"] for one in found["changes"]), reverse=True
    )


def test_where_not_one_sample_fits_the_changes_that_make_it_fit_are_named(here: Path, capsys: Any):
    large = (
        "--model.max_length",
        "1024",
        "--model.architecture.n_positions",
        "1024",
        "--model.architecture.n_layer",
        "24",
    )
    found = planned(capsys, *TEXT, *large, "--vram", "720MB", "--write", "overlay.yaml")
    assert found["fits"] == 0
    assert found["cure"]["reserved"] <= found["budget"] < found["training"]["reserved"]
    overlay = yaml.safe_load((here / "overlay.yaml").read_text())["model"]["init_args"]
    assert overlay["gradient_checkpointing"] is True


def test_samples_that_batch_statistics_keep_together_are_planned_together(here: Path, capsys: Any):
    found = planned(capsys, *NARROW, "--vram", "RTX 3060")
    assert (found["fixed"], found["fits"], found["training"]["size"]) == (True, 32, 32)
    assert found["training"]["parts"]["EMA"] == pytest.approx(found["training"]["parts"]["weights"], rel=0.01)


def test_the_report_needs_no_data_and_says_that_nothing_was_measured(here: Path, capsys: Any):
    assert main(["plan", *TEXT, "--vram", "12GB", "--data.train", "nowhere.txt"]) == 0
    said = capsys.readouterr().out
    assert "the batch of 8 fits at once" in said
    assert "model.gradient_checkpointing: true" in said
    assert said.rstrip().endswith("zoo plan was not compared with a GPU yet.")


def test_a_run_is_told_what_fits_into_the_memory_that_it_has(here: Path):
    request = Request.parse(["fit", *TEXT, "--data.batch_size", "64"])
    settings, problems = request.settings(schema.load())
    assert not problems
    size, taken = plan.guess(request, settings, 90_000_000) or (0, 0)
    assert 1 < size < 64
    assert taken <= 90_000_000
    assert plan.guess(request, settings, 10_000_000) is None


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        ((*TEXT, "--vram", "RTX 9999"), 2, "no GPU of that name"),
        ((*TEXT, "--vram"), 2, "--vram needs a value"),
        ((*TEXT, "--labels", "one"), 2, "--labels is 'one'"),
        ((*TEXT, "--model.max_lenght", "9"), 2, "max_length"),
        (("--run", "runs/a/1"), 2, "takes a config"),
        ((*TEXT, "--model.max_length", "129"), 2, "128 positions"),
        (("--config", "gpt2_finetune", "--model.pretrained", "./nowhere"), 66, "no such"),
    ],
)
def test_mistakes_are_told_in_a_line(here: Path, capsys: Any, flags: tuple[str, ...], code: int, line: str):
    assert main(["plan", *flags]) == code
    said = capsys.readouterr().err.strip()
    assert said.startswith("zoo: ")
    assert line in said
    assert "\n" not in said


def test_a_task_of_ones_own_is_planned_by_its_own_code(here: Path, capsys: Any):
    (here / "my_lab.py").write_text(
        "import torch, zoo\n\n\nclass Hungry(zoo.CausalLM):\n    def loss(self, batch):\n"
        "        total, count = super().loss(batch)\n"
        "        return total + 0 * torch.ones(100_000_000, requires_grad=True).sum(), count\n"
    )
    usual, hungry = planned(capsys, *TEXT), planned(capsys, *TEXT, "--model", "my_lab.Hungry")
    assert hungry["training"]["allocated"] - usual["training"]["allocated"] >= 4e8
