from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import trainer
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from small import COUNT, SGD, Line, Numbers
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.callbacks.bad_steps import BadSteps
from zoo.errors import DataError
from zoo.loop import checkpoint, optim

PLAIN = partial(torch.optim.AdamW, lr=0.01)
FUSED = partial(torch.optim.AdamW, lr=0.01, fused=True)
MOMENTUM = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
FUSED_MOMENTUM = partial(torch.optim.SGD, lr=0.01, momentum=0.9, fused=True)


class States(Callback):
    """Weights, statistics and moments after every step."""

    def __init__(self) -> None:
        self.of: list[list[torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        moments = [t for values in trainer.optimizers[0].state.values() for t in values.values() if t is not None]
        self.of.append([t.clone() for t in (*pl_module.state_dict().values(), *moments)])


def fit(optimizer: Any = PLAIN, bad: Any = (), steps: int = 6, what: float = float("nan"), **kwargs: Any) -> Any:
    states = States()
    t = trainer(steps, callbacks=[states], limit_val_batches=0, **kwargs)
    t.fit(Line(optimizer=optimizer), datamodule=Numbers(bad, what))
    return t, states


def bad_step_of(sample: int) -> int:
    t, _ = fit(steps=1)
    order = t.train_dataloader.batch_sampler
    return next(step for step in range(COUNT) if sample in [index for _, index in order.batch(step)])


@pytest.mark.parametrize(
    "optimizer", [PLAIN, FUSED, SGD, MOMENTUM, FUSED_MOMENTUM, partial(torch.optim.Adagrad, lr=0.1)]
)
@pytest.mark.parametrize("what", [float("nan"), float("inf")])
def test_a_bad_step_leaves_weights_moments_and_statistics_as_they_were(optimizer: Any, what: float):
    at = bad_step_of(5)
    t, states = fit(optimizer, [5], what=what)
    assert t.global_step == 6
    before = states.of[at - 1] if at else None
    if before:
        assert all(torch.equal(a, b) for a, b in zip(states.of[at], before, strict=True))
    assert all(tensor.isfinite().all() for state in states.of for tensor in state)
    moved = [not all(torch.equal(x, y) for x, y in zip(a, b, strict=False)) for a, b in pairwise(states.of)]
    assert sum(moved) >= 4  # the others train


@pytest.mark.parametrize("optimizer", [PLAIN, FUSED])
def test_step_and_sample_are_named_and_counted(optimizer: Any, capsys: pytest.CaptureFixture[str]):
    t, _ = fit(optimizer, [5])
    said = capsys.readouterr().err
    assert f"step {bad_step_of(5) + 1} skipped: loss or gradient is NaN/Inf" in said
    assert "training sample 5 of its 4" in said
    assert next(c for c in t.callbacks if isinstance(c, BadSteps)).skipped == 1


def test_with_fused_kernels_the_host_does_not_wait_for_the_device():
    class Waits(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = func.name()
            self.count += name in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::item")
            return func(*args, **(kwargs or {}))

    class Watch(Callback):
        def __init__(self) -> None:
            self.waits: list[int] = []

        def on_train_batch_start(self, *_: Any) -> None:
            self.mode = Waits()
            self.mode.__enter__()

        def on_train_batch_end(self, *_: Any) -> None:
            self.mode.__exit__(None, None, None)
            self.waits.append(self.mode.count)

    def waits(optimizer: Any) -> list[int]:
        watch = Watch()
        t = trainer(6, callbacks=[watch], limit_val_batches=0)
        t.fit(Line(optimizer=optimizer), datamodule=Numbers())
        return watch.waits

    assert max(waits(FUSED)) == 0
    assert max(waits(FUSED_MOMENTUM)[1:]) == 0
    assert min(waits(PLAIN)) > 0


def test_the_fused_kernel_of_sgd_is_trusted_with_a_flag_once_every_momentum_is_written():
    """Its first step, left out, keeps a momentum that nobody has written."""
    p = [torch.nn.Parameter(torch.ones(3))]
    p[0].grad = torch.ones(3)
    assert optim.on_device(torch.optim.AdamW(p, fused=True))
    assert not optim.on_device(torch.optim.AdamW(p))
    fused = torch.optim.SGD(p, lr=1, momentum=0.9, fused=True)
    assert not optim.on_device(fused)
    fused.step()
    assert optim.on_device(fused)
    assert optim.on_device(torch.optim.SGD(p, lr=1, fused=True))


def test_a_first_step_of_fused_sgd_that_is_bad_is_left_out():
    t, states = fit(FUSED_MOMENTUM, [index for _, index in _first_batch()])
    assert t.global_step == 6
    assert all(tensor.isfinite().all() for state in states.of for tensor in state)
    assert not all(torch.equal(a, b) for a, b in zip(states.of[0], states.of[-1], strict=False))


def _first_batch() -> list[tuple[int, int]]:
    return fit(steps=1)[0].train_dataloader.batch_sampler.batch(0)


def test_fused_sgd_goes_on_where_a_parameter_has_its_first_gradient_late():
    early, late = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    plain = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    fused, usual = FUSED_MOMENTUM([early, late]), MOMENTUM(plain)
    for step in range(3):
        for p, in_use in ((early, True), (late, step > 0), (plain[0], True), (plain[1], step > 0)):
            p.grad = torch.full((3,), float(step + 1)) if in_use else None
        optim.on_device(fused)
        fused.step()
        usual.step()
    assert torch.allclose(early, plain[0])
    assert torch.allclose(late, plain[1])


@pytest.mark.parametrize("optimizer", [PLAIN, FUSED])
def test_twenty_bad_steps_in_a_row_end_the_run(optimizer: Any):
    everything = list(range(COUNT))
    with pytest.raises(
        DataError, match=r"20 steps in a row were skipped, up to step 20: .*first module .*network.0 \(Linear\)"
    ):
        fit(optimizer, everything, steps=50)


def test_a_batch_with_one_bad_sample_that_always_comes_back_names_it():
    t = trainer(50, limit_val_batches=0)
    with pytest.raises(DataError, match=r"Fix or remove training sample 5\."):
        t.fit(Line(optimizer=SGD), datamodule=Numbers([5], batch_size=COUNT))


def test_nineteen_in_a_row_do_not(capsys: pytest.CaptureFixture[str]):
    class Mended(Line):
        def loss(self, batch: Any) -> Any:
            total, count = super().loss(batch)
            return (total * float("nan") if self.global_step < 19 else total), count

    t = trainer(25, limit_val_batches=0)
    t.fit(Mended(optimizer=PLAIN), datamodule=Numbers())
    assert t.global_step == 25


def test_weights_that_overflow_are_not_written(tmp_path: Path):
    t = trainer(5, folder=tmp_path, limit_val_batches=0, gradient_clip_val=None)
    with pytest.raises(DataError, match=r"NaN/Inf after step 1, so no checkpoint .*optimizer\.lr"):
        t.fit(Line(optimizer=partial(torch.optim.SGD, lr=1e38)), datamodule=Numbers())
    assert not [*tmp_path.iterdir()]


def test_the_count_goes_on_after_a_resume(tmp_path: Path):
    fit_to = partial(Line, optimizer=PLAIN)
    trainer(6, folder=tmp_path, limit_val_batches=0).fit(fit_to(), datamodule=Numbers([5]))
    saved = checkpoint.read(tmp_path / "step=6.ckpt")["callbacks"]["BadSteps"]
    assert saved == {"skipped": 1, "in_a_row": saved["in_a_row"]}
    t = trainer(12, folder=tmp_path, limit_val_batches=0)
    t.fit(fit_to(), datamodule=Numbers([5]), ckpt_path=tmp_path / "step=6.ckpt")
    assert next(c for c in t.callbacks if isinstance(c, BadSteps)).skipped == 2


@pytest.mark.parametrize("optimizer", [PLAIN, FUSED])
def test_an_fp16_scale_below_one_ends_the_run(optimizer: Any):
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
    with pytest.raises(DataError, match=r"fp16 loss scale fell below 1 .* bf16-mixed"):
        fit(optimizer, list(range(COUNT)), steps=50, plugins=[scaled])


@pytest.mark.parametrize("optimizer", [PLAIN, FUSED])
def test_the_scaler_finds_its_scale_and_counts_what_it_left_out(optimizer: Any):
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**24))
    t, _ = fit(optimizer, steps=12, plugins=[scaled])
    skipped = next(c for c in t.callbacks if isinstance(c, BadSteps)).skipped
    assert skipped > 0
    assert scaled.scaler.get_scale() == 2.0 ** (24 - skipped)
    assert t.global_step == 12
