from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import ADAMW, CASES, trainer

import zoo
from zoo.errors import ConfigError

SMI = '#!/bin/sh\necho "NVIDIA GeForce RTX 4070 Ti, 470.10"\n'


def task(tiny_gpt2: Path, **settings: Any) -> zoo.CausalLM:
    return zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=16, **{"optimizer": ADAMW, **settings})


def test_accumulation_is_refused_with_the_two_lines_that_replace_it(tiny_gpt2: Path, text_file: Path):
    t = zoo.Trainer(accelerator="cpu", max_steps=1, accumulate_grad_batches=4, logger=False)
    with pytest.raises(ConfigError, match=r"--data.batch_size 32\n  --model.micro_batch_size 8"):
        t.fit(task(tiny_gpt2), datamodule=zoo.TextData(train=str(text_file), batch_size=8))


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "total"), [(2, -1, 2 * 83), (2, 10, 10), (None, 10, 10), (1, 1000, 83), (1, -1, 83)]
)
def test_the_run_ends_at_whichever_limit_comes_first(
    max_epochs: int | None, max_steps: int, total: int, tiny_gpt2: Path, text_file: Path
):
    t = trainer(max_steps, max_epochs=max_epochs, limit_val_batches=0)
    t.fit(task(tiny_gpt2), datamodule=zoo.TextData(train=str(text_file), batch_size=7))
    assert (t.total_steps, t.global_step) == (total, total)


def test_a_run_resumed_after_its_last_step_takes_no_other(tiny_gpt2: Path, text_file: Path, tmp_path: Path):
    trainer(3, folder=tmp_path).fit(task(tiny_gpt2), datamodule=zoo.TextData(train=str(text_file)))
    again = trainer(3, folder=tmp_path)
    again.fit(task(tiny_gpt2), datamodule=zoo.TextData(train=str(text_file)), ckpt_path=tmp_path / "step=3.ckpt")
    assert again.global_step == 3


def test_no_steps_are_no_steps(tiny_gpt2: Path, text_file: Path):
    t = trainer(0)
    t.fit(task(tiny_gpt2), datamodule=zoo.TextData(train=str(text_file)))
    assert t.global_step == 0


@pytest.mark.parametrize("flag", ["--trainer.max_steps=0", "--trainer.max_epochs=0"])
def test_a_run_of_nothing_is_refused_before_it_has_a_folder(
    flag: str, here: Path, zoo_command: Any, tiny_gpt2: Path, text_file: Path
):
    flags = CASES["causal_lm"](tiny_gpt2, text_file).flags
    code, _, complaint = zoo_command("fit", *flags, "--trainer.accelerator=cpu", flag)
    assert (code, "is 0" in complaint) == (2, True)
    assert not (here / "runs").exists()


def test_a_run_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="neither Trainer.max_epochs nor Trainer.max_steps"):
        zoo.Trainer(accelerator="cpu")


@pytest.mark.parametrize("norm", [-1, 0, 0.0, float("nan"), float("inf")])
def test_a_norm_that_turns_or_removes_the_gradient_is_refused(norm: float):
    with pytest.raises(ConfigError, match="Trainer.gradient_clip_val is .* expected above 0"):
        zoo.Trainer(accelerator="cpu", max_steps=1, gradient_clip_val=norm)


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_2"])
def test_a_strategy_that_shards_is_refused_for_now(strategy: str):
    with pytest.raises(ConfigError, match=f"trainer.strategy is {strategy}; zoo trains on one device"):
        zoo.Trainer(accelerator="cpu", max_steps=1, strategy=strategy)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver shows a GPU that torch cannot use."""
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("cuda", "says"),
    [
        (None, "is a CPU build.*--trainer.accelerator cpu"),
        ("13.0", "driver 470.10.*CUDA 13.0.*--trainer.accelerator cpu"),
    ],
)
def test_a_gpu_that_torch_cannot_use_stops_with_the_remedy(
    cuda: str | None, says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(ConfigError, match=f"RTX 4070 Ti.*{says}") as caught:
        zoo.Trainer(max_steps=1)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("gpu")
def test_the_cpu_can_be_insisted_on():
    assert zoo.Trainer(max_steps=1, accelerator="cpu", logger=False).max_epochs == -1


def test_compiling_trains_the_same_and_compiles_once_for_pieces_of_any_size(
    tiny_gpt2: Path, text_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """7 samples in pieces of 4 and 3; one graph forwards, however often the size changes."""
    import torch._dynamo

    def trained(**settings: Any) -> torch.Tensor:
        module = task(tiny_gpt2, optimizer=lambda p: torch.optim.SGD(p, 0.1), micro_batch_size=4, **settings)
        trainer(3, limit_val_batches=0).fit(module, datamodule=zoo.TextData(train=str(text_file), batch_size=7))
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    compile = torch.nn.Module.compile  # with the backend that takes seconds, not minutes; the graphs are the same
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **kwargs: compile(self, backend="aot_eager", **kwargs))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    assert torch.allclose(trained(compile=True), trained(), atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_the_precision_is_that_of_the_hardware_and_only_a_choice_that_it_lacks_is_told(
    capsys: pytest.CaptureFixture[str],
):
    assert zoo.Trainer(max_steps=1, precision="auto", accelerator="cpu").precision == "32-true"
    assert capsys.readouterr().out == ""
    assert zoo.Trainer(max_steps=1, precision="16-mixed", accelerator="cpu").precision == "32-true"
    assert "precision: 16-mixed needs a CUDA GPU" in capsys.readouterr().out
