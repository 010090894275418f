import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXT
from contract_cases import ADAMW, trainer
from torch import nn
from toy import Toy, ToyData

import zoo
from zoo.data import text
from zoo.errors import ConfigError, DataError
from zoo.files.forms import Found
from zoo.loading.order import Order
from zoo.tokens.processors import TokenProcessor

LENGTHS = [(7 * i) % 101 + 1 for i in range(103)]


def order(step: int = 0, count: int = 23, seed: int = 0, rank: int = 0, world: int = 1) -> Order:
    def part(batch: list) -> list:
        return batch[len(batch) * rank // world : len(batch) * (rank + 1) // world]

    return Order(count, 4, seed, part, lambda: step)


def first(o: Order, batches: int) -> list[list[int]]:
    return [[sample for _, sample in batch] for _, batch in zip(range(batches), o, strict=False)]


def test_a_pass_has_every_sample_once_and_the_next_another_order():
    one = first(order(), 6)
    two = first(order(), 12)[6:]
    assert sorted(chain.from_iterable(one)) == sorted(chain.from_iterable(two)) == list(range(23))
    assert one != two


@pytest.mark.parametrize("step", [1, 5, 6, 7, 17])
def test_from_any_step_on_it_goes_as_from_the_start(step: int):
    assert first(order(step), 4) == first(order(), step + 4)[step:]


def test_another_seed_is_another_order():
    assert first(order(seed=1), 6) != first(order(seed=2), 6)


def test_processes_share_every_batch_without_a_double():
    parts = [first(order(rank=rank, world=3), 6) for rank in range(3)]
    whole = first(order(), 6)
    assert [list(chain.from_iterable(pieces)) for pieces in zip(*parts, strict=True)] == whole


def by_length(step: int = 0, seed: int = 0, rank: int = 0, world: int = 1) -> Order:
    """103 samples in batches of 4; LENGTHS are their lengths."""

    def part(batch: list) -> list:
        return batch[len(batch) * rank // world : len(batch) * (rank + 1) // world]

    return Order(len(LENGTHS), 4, seed, part, lambda: step, LENGTHS)


def padding(batches: list[list[int]]) -> int:
    return sum(max(LENGTHS[i] for i in batch) * len(batch) - sum(LENGTHS[i] for i in batch) for batch in batches)


def test_batches_by_length_have_every_sample_once_and_little_padding():
    one, two = first(by_length(), 26), first(by_length(), 52)[26:]
    assert sorted(chain.from_iterable(one)) == sorted(chain.from_iterable(two)) == list(range(103))
    assert one != two
    assert [len(batch) for batch in one] == [4] * 25 + [3]
    assert padding(one) < 0.2 * padding(first(order(count=103), 26))


def test_batches_by_length_come_in_no_order_of_length():
    longest = [max(LENGTHS[i] for i in batch) for batch in first(by_length(), 25)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize("step", [1, 25, 26, 27, 60])
def test_batches_by_length_go_on_from_any_step(step: int):
    assert first(by_length(step), 4) == first(by_length(), step + 4)[step:]


def test_processes_share_batches_by_length():
    parts = [first(by_length(rank=rank, world=3), 26) for rank in range(3)]
    assert [list(chain.from_iterable(pieces)) for pieces in zip(*parts, strict=True)] == first(by_length(), 26)


def test_windows_know_their_lengths(tiny_gpt2: Path, text_file: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=16, packing=False, optimizer=ADAMW)
    data = zoo.TextData(train=str(text_file), documents="lines", batch_size=4, group_by_length=True)
    t = trainer(1, limit_val_batches=0)
    t.fit(task, datamodule=data)
    items = data.items["train"]
    assert t.train_dataloader.batch_sampler.lengths.tolist() == [len(item["input_ids"]) for item in items]


def test_a_task_whose_samples_are_all_alike_cannot_group_them():
    with pytest.raises(ConfigError, match=r"data\.group_by_length"):
        trainer(1).fit(Toy([nn.Linear(3, 1)]), datamodule=ToyData(group_by_length=True))


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"DataModule.batch_size is 0"):
        zoo.TextData(train="x.txt", batch_size=0)


def test_a_new_modality_writes_only_its_samples(tiny_gpt2):
    """What the README promises: the base does the rest."""

    class Lines(zoo.DataModule):
        def samples(self, split):
            lines = TEXT.splitlines()
            return [zoo.TextSample(line) for line in (lines[:300] if split == "train" else lines[300:])]

    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=16, optimizer=ADAMW)
    trainer(2).fit(task, datamodule=Lines(batch_size=4))
    assert task.last_metrics["tokens"] > 0


class Lines(zoo.DataModule):
    """A modality that only reads: a line of a file each; a folder has splits."""

    def read(self, source: str, split: Any, setting: Any) -> Found | None:
        path = Path(source) / f"{split}.txt" if Path(source).is_dir() else Path(source)
        if not path.exists() or (path == Path(source) and split != "train"):
            return None
        return Found([zoo.TextSample(line) for line in path.read_text().splitlines()], ["plain"])


def test_a_new_modality_writes_only_how_a_source_is_read(here: Path):
    Path("a.txt").write_text("\n".join(map(str, range(100))))
    data = Lines(train="a.txt", validation_fraction=0.2, test_fraction=0.1)
    parts = {split: [sample.text for sample in data.samples(split)] for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in parts.items()} == {"train": 70, "validation": 20, "test": 10}
    assert sorted(chain.from_iterable(parts.values()), key=int) == [str(i) for i in range(100)]
    assert data.describe("train") == "a.txt: 70 samples, plain"
    assert data.describe("test") == "10% of a.txt: 10 samples"


def test_a_sources_own_splits_win_then_a_part_of_train_then_the_validation_data(here: Path):
    for name in ("train", "validation", "other"):
        Path("d").mkdir(exist_ok=True)
        Path("d", f"{name}.txt").write_text(f"{name} 1\n{name} 2")
    data = Lines(train="d", predict="d/other.txt")
    found = {split: [sample.text[:-2] for sample in data.samples(split)] for split in ("train", "validation", "test")}
    assert found == {"train": ["train"] * 2, "validation": ["validation"] * 2, "test": ["validation"] * 2}
    assert data.describe("test") == "no test data, so the validation data: 2 samples, plain"
    assert [sample.text for sample in data.samples("predict")] == ["other 1", "other 2"]
    named = Lines(train="d", validation="d/other.txt")
    assert [sample.text for sample in named.samples("validation")] == ["other 1", "other 2"]
    with pytest.raises(ConfigError, match=r"data.predict is not set: a file or a folder"):
        named.samples("predict")


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """An empty cache, and how many samples each call of the processor got."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    calls: list[int] = []
    encode = TokenProcessor.encode

    def counted(self: TokenProcessor, samples: list) -> list:
        calls.append(len(samples))
        return encode(self, samples)

    monkeypatch.setattr(TokenProcessor, "encode", counted)
    return calls


def prepare(model: Path, text: Path, **settings: Any) -> list[int]:
    data = zoo.TextData(train=str(text), validation=str(text))
    task = zoo.CausalLM(**{"pretrained": str(model), "max_length": 16, "optimizer": ADAMW} | settings)
    trainer(0).fit(task, datamodule=data)
    return data.items["train"].tokens(0, 20).tolist()


def test_a_second_start_encodes_nothing(encodings: list[int], tiny_gpt2: Path, text_file: Path):
    first = prepare(tiny_gpt2, text_file)
    assert sum(encodings) == 1  # train and validation are the same text
    assert prepare(tiny_gpt2, text_file, max_length=32) == first
    assert sum(encodings) == 1


def test_changed_text_is_encoded_anew(encodings: list[int], tiny_gpt2: Path, tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    first = prepare(tiny_gpt2, path)
    path.write_text(TEXT.replace("fox", "fix"))
    assert prepare(tiny_gpt2, path) != first
    assert sum(encodings) == 2


def test_another_tokenizer_encodes_anew(encodings: list[int], tiny_gpt2: Path, text_file: Path):
    prepare(tiny_gpt2, text_file)
    architecture = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8}
    prepare(tiny_gpt2, text_file, pretrained=None, architecture=architecture, vocab_size=280)
    assert sum(encodings) == 2


def test_data_of_other_samples_than_the_task_takes_is_not_even_read():
    message = r"CausalLM takes text samples, and ImageData yields image samples\."
    with pytest.raises(ConfigError, match=message):
        trainer(1).fit(zoo.CausalLM(pretrained="x", optimizer=ADAMW), datamodule=zoo.ImageData(train="./nowhere"))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_mistakes_in_the_data_are_found_before_tokenizer_and_weights_are_looked_for(split: str, here: Path):
    Path("good.jsonl").write_text('{"text": "One"}\n{"text": "Two"}')
    Path("bad.jsonl").write_text('{"txet": "One"}')
    data = zoo.TextData(**{"train": "good.jsonl", "validation": "good.jsonl", split: "bad.jsonl"})
    with pytest.raises(DataError, match=r"bad\.jsonl has no column 'text'"):
        trainer(1).fit(zoo.CausalLM(pretrained="./no-such-model", optimizer=ADAMW), datamodule=data)


def test_the_hash_of_samples_is_that_of_their_content(here: Path):
    def digest(lines: list[str], suffix: str = "jsonl", **settings: Any) -> str:
        path = Path(f"a.{suffix}")
        path.write_text("\n".join([json.dumps({"text": line}) for line in lines] if suffix == "jsonl" else lines))
        return zoo.TextData(train=str(path), validation=str(path), **settings).samples("train").digest()

    assert digest(["ab", "c"]) == digest(["ab", "", "c"]) == digest(["ab", "c"], "txt", documents="lines")
    assert len({digest(["ab", "c"]), digest(["a", "bc"]), digest(["abc"]), digest(["c", "ab"])}) == 4


def test_the_hash_of_a_part_is_that_of_the_same_samples_alone(here: Path):
    rows = [f"text {i}ü" for i in range(300_000)]
    whole = text._of_texts(rows).samples
    assert whole[::2].digest() == text._of_texts(rows[::2]).samples.digest()
    assert [sample.text for sample in whole[5:7]] == rows[5:7]
    assert whole[::2].lengths.tolist() == [len(row) for row in rows[::2]]


def test_what_is_held_out_is_drawn_by_the_seed_and_every_part_keeps_the_order_of_the_data():
    def divided(seed: int) -> dict[str, list[int]]:
        data = zoo.DataModule()
        data.trainer = trainer(0)
        data.trainer.seed = seed
        return data.divide([*range(50)], {"validation": 0.2, "test": 0.1})[0]

    parts = divided(1)
    assert parts == divided(1) != divided(2)
    assert {split: len(part) for split, part in parts.items()} == {"validation": 10, "test": 5, "train": 35}
    assert sorted(chain.from_iterable(parts.values())) == [*range(50)]
    assert all(part == sorted(part) for part in parts.values())
