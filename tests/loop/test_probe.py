"""micro_batch_size: auto. The search on simulated memory; the trial on real networks, measured on the CPU."""

import gc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from contract_cases import SGD, Case, trainer, weights
from torch import nn
from toy import Counts, Toy, ToyData, wide

import zoo
from zoo.errors import ConfigError, DoesNotFitError
from zoo.loop import microbatch, probe
from zoo.tokens.sampling import Sampling
from zoo.vram import gpus


class Memory:
    """Room for so many samples beside what is always there."""

    def __init__(self, room: int):
        self.room = room
        self.tried: list[int] = []

    def fits(self, size: int) -> int | None:
        self.tried.append(size)
        return 1000 + size if size <= self.room else None


@pytest.mark.parametrize("batch", [*range(1, 34), 100, 256])
def test_what_is_found_is_the_largest_size_that_fits_among_even_cuts(batch: int):
    for room in range(1, batch + 2):
        memory = Memory(room)
        found = probe.largest(memory.fits, batch)
        best = max(size for size in probe.micro_batch_sizes(batch) if size <= room)
        assert found == (best, 1000 + best)
        assert best in memory.tried
        assert len(memory.tried) == len(set(memory.tried))


@pytest.mark.parametrize("first", range(1, 40))
def test_whatever_size_is_tried_first_the_same_is_found(first: int):
    for room in range(33):
        memory = Memory(room)
        assert probe.largest(memory.fits, 32, first) == probe.largest(Memory(room).fits, 32)
        assert len(memory.tried) == len(set(memory.tried))
        assert memory.tried[0] == max(size for size in probe.micro_batch_sizes(32) if size <= first)


def test_the_sizes_are_those_of_the_largest_piece_of_every_even_cut():
    for batch in range(1, 50):
        largest_pieces = {max(microbatch.even_sizes(batch, size)) for size in range(1, batch + 1)}
        assert probe.micro_batch_sizes(batch) == sorted(largest_pieces)


def test_no_try_is_much_more_than_twice_of_what_is_known_to_fit():
    memory = Memory(room=5)
    probe.largest(memory.fits, 64)
    fitting = 1
    for size in memory.tried[1:]:
        assert size <= 2 * fitting + 2
        fitting = max(fitting, size if size <= 5 else 0)


def test_few_tries_are_enough():
    memory = Memory(room=37)
    probe.largest(memory.fits, 512)
    assert len(memory.tried) <= 12


def test_nothing_is_found_where_one_sample_does_not_fit():
    assert probe.largest(Memory(0).fits, 16) is None


@pytest.mark.parametrize(
    ("batch", "size", "text"),
    [(16, 8, "8 × 2 = batch 16"), (7, 3, "3 + 2 × 2 = batch 7"), (7, None, "7 = batch 7"), (5, 1, "1 × 5 = batch 5")],
)
def test_the_cut_is_described(batch: int, size: int | None, text: str):
    assert probe.describe(batch, size) == text


@pytest.mark.parametrize(
    ("text", "amount"), [("12GB", 12e9), ("11.5 GiB", 11.5 * 2**30), ("800MB", 8e8), ("1gb", 1e9), ("64 mib", 2**26)]
)
def test_amounts_of_memory_are_read(text: str, amount: float):
    assert gpus.in_bytes(text) == int(amount)


@pytest.mark.parametrize("text", ["12", "GB", "a lot", "12TBx"])
def test_what_is_no_amount_of_memory_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"trainer\.vram"):
        gpus.in_bytes(text)


def test_the_meter_counts_what_is_alive_at_once():
    held = torch.zeros(1000)
    with probe.CpuMeter([held]) as meter:
        for _ in range(5):
            a = torch.ones(250)  # 1000 bytes
            view = a[:10]
            del a
            assert meter.now == 5000
            b = view + 1  # 40 bytes, and rounding to nothing
            assert meter.now == 5040
            del view, b
            gc.collect()
            assert meter.now == 4000
    assert meter.peak == 5040


# The trial --------------------------------------------------------------------------------------------------------


def chosen(vram: str | None, **kwargs: Any) -> int | None:
    task = wide(**kwargs)
    trainer(2, vram=vram, limit_val_batches=0).fit(task, datamodule=ToyData())
    return task.micro_batch_size  # type: ignore[return-value]


def test_less_memory_gives_smaller_micro_batches():
    sizes = [chosen(vram) for vram in ("9MB", "18MB", "36MB", "1GB")]
    assert sizes == sorted(sizes, key=lambda size: size or 8)
    assert sizes[0] == 1
    assert sizes[-1] is None
    assert len(set(sizes)) >= 3


def test_without_a_limit_a_cpu_takes_the_whole_batch():
    assert chosen(None) is None


def test_a_size_that_is_asked_for_is_taken():
    assert chosen("9MB", micro_batch_size=5) == 5


def test_the_choice_is_said_in_one_line(capsys: pytest.CaptureFixture[str]):
    chosen("9MB")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("micro-batch")]
    assert len(lines) == 1
    assert lines[0].startswith("micro-batch 1 × 8 = batch 8 · peak ")
    assert lines[0].endswith(" of 9.0 MB")


def test_what_was_found_is_remembered(monkeypatch: pytest.MonkeyPatch):
    first = chosen("18MB")
    monkeypatch.setattr(probe, "probe", lambda *_: pytest.fail("tried again"))
    assert chosen("18MB") == first
    monkeypatch.setattr(probe, "probe", lambda *_: (2, 1))
    assert chosen("19MB") == 2


def test_what_is_planned_is_tried_first_and_shown_beside_what_is_measured(capsys: pytest.CaptureFixture[str]):
    task, one = wide(), trainer(2, vram="17.5MB", limit_val_batches=0)
    asked = []
    one.plan = lambda budget: asked.append(budget) or (3, 12_000_000)
    one.fit(task, datamodule=ToyData())
    said = capsys.readouterr().out.splitlines()
    assert asked == [17_500_000]
    assert "planned: 3 samples at a time, 12.0 of 17.5 MB" in said
    assert task.micro_batch_size == chosen("17.5MB")


def test_a_cache_that_cannot_be_written_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    assert chosen("18MB") is not None
    assert f"the cache {tmp_path / 'file'} cannot be written" in capsys.readouterr().out


def test_one_sample_that_does_not_fit_is_said_before_the_first_step(monkeypatch: pytest.MonkeyPatch):
    task = wide()

    def loss(batch: Any) -> Any:
        raise torch.OutOfMemoryError("simulated")

    task.loss = loss  # type: ignore[method-assign]
    with pytest.raises(DoesNotFitError, match="one sample"):
        trainer(2, vram="17MB").fit(task, datamodule=ToyData())


def test_a_network_with_batch_statistics_is_not_probed():
    task = Toy([nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)])
    trainer(1, vram="1MB").fit(task, datamodule=ToyData())
    assert task.micro_batch_size is None


def test_a_task_without_an_example_batch_is_not_probed():
    class Plain(zoo.Task):
        configure_model, processor, loss = Toy.configure_model, Toy.processor, Toy.loss

    task = Plain(optimizer=SGD)
    task.network = nn.Sequential(nn.Linear(3, 1))
    trainer(1, vram="1MB").fit(task, datamodule=ToyData())
    assert task.micro_batch_size is None


@pytest.mark.parametrize("optimizer", [SGD, partial(torch.optim.AdamW, lr=1e-2)])
def test_a_probe_changes_nothing_of_the_training(case: Case, optimizer: Any):
    """Bit for bit, with dropout: weights, optimizer, random streams. All sizes fit, so that the batch stays whole."""

    def trained(vram: str | None) -> torch.Tensor:
        task = case.task(optimizer=optimizer, dropout=0.2)
        trainer(4, vram=vram).fit(task, datamodule=case.data())
        assert task.micro_batch_size is None
        return weights(task)

    before = torch.random.get_rng_state()
    plain = trained(None)
    torch.random.set_rng_state(before)
    assert torch.equal(trained("100GB"), plain)


def test_a_probe_puts_buffers_back():
    task = Toy([Counts(), nn.Linear(3, 1)])
    trainer(0, vram="1GB").fit(task, datamodule=ToyData())
    assert task.network[0].calls == 0


def test_what_was_found_is_forgotten_with_another_callback_or_another_version(monkeypatch: pytest.MonkeyPatch):
    def found_in(*callbacks: Any) -> str:
        task = wide()
        t = trainer(1, callbacks=[*callbacks], limit_val_batches=0)
        t.fit(task, datamodule=ToyData())
        return probe.key(task, "training", 8, 10**9)

    plain, averaged = found_in(), found_in(zoo.EMA())
    assert found_in() == plain != averaged
    monkeypatch.setattr(probe.metadata, "version", lambda package: "another")
    assert found_in() != plain


def test_the_limit_of_one_trainer_is_not_that_of_the_next(monkeypatch: pytest.MonkeyPatch):
    fractions: list[float] = []
    total = SimpleNamespace(total_memory=24 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: total)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: fractions.append(share))
    gpu = torch.device("cuda", 0)
    for limit in (None, 12 * 10**9, None):
        probe.limit_process(gpu, limit)
    assert fractions == [0.5, 1.0]


# Prediction -------------------------------------------------------------------------------------------------------


def predicted(model: Path, vram: str | None, seen: list[int], **settings: Any) -> tuple[zoo.CausalLM, list[str]]:
    """What a model of two layers says to twelve prompts; `seen` gets the samples of each call."""

    class Watched(zoo.CausalLM):
        def predict_batch(self, batch: Any) -> Any:
            seen.append(len(batch["input_ids"]))
            return super().predict_batch(batch)

    sampling = Sampling(temperature=0, max_new_tokens=8)
    task = Watched(pretrained=str(model), max_length=48, optimizer=SGD, sampling=sampling, **settings)
    data = zoo.TextData(predict="prompts.txt", eval_batch_size=12)
    found = trainer(0, vram=vram).predict(task, datamodule=data)
    return task, [one["continuations"][0] for batch in found for one in batch]


@pytest.fixture
def prompts(here: Path) -> None:
    Path("prompts.txt").write_text("".join(f"The {i}th fox\n" for i in range(12)))


def test_generation_is_tried_out_before_the_first_prompt_and_says_the_same(tiny_gpt2: Path, prompts: None):
    seen: list[int] = []
    task, whole = predicted(tiny_gpt2, None, seen)
    assert seen == [12]
    three = probe.peak(lambda: probe.prediction(task, 3), task.device, [*task.parameters(), *task.buffers()])
    assert three is not None
    seen.clear()
    task, in_micro_batches = predicted(tiny_gpt2, f"{(three + 100) / 1e6}MB", seen)
    assert task.at_once == {"prediction": 3}
    assert seen[-4:] == [3, 3, 3, 3]
    assert in_micro_batches == whole


def test_with_room_for_all_prompts_generation_stays_whole(tiny_gpt2: Path, prompts: None):
    seen: list[int] = []
    task, _ = predicted(tiny_gpt2, "1GB", seen)
    assert task.at_once == {}
    assert seen[-1] == 12


def test_the_example_of_a_prediction_is_as_long_as_any(tiny_gpt2: Path, prompts: None):
    """Of 64 positions, 56 for the prompt and 8 for what is said, even where a model would end at once."""
    task, _ = predicted(tiny_gpt2, None, [])
    for length, expected in ((48, 48), (64, 56)):
        task.max_length = length
        batch = task.prediction_example(3)
        assert batch["input_ids"].shape == (3, expected)
        lengths = []
        task.network.register_forward_hook(lambda module, args, output, lengths=lengths: lengths.append(1))
        task.network.generation_config.eos_token_id = list(range(299))
        task.predict_batch(batch)
        assert len(lengths) == 8


def test_what_was_found_for_generation_is_remembered(tiny_gpt2: Path, prompts: None, monkeypatch: pytest.MonkeyPatch):
    task, _ = predicted(tiny_gpt2, "0.9MB", [])
    monkeypatch.setattr(probe, "probe", lambda *_: pytest.fail("tried again"))
    assert predicted(tiny_gpt2, "0.9MB", [])[0].at_once == task.at_once
