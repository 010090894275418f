import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import ADAMW, trainer

import zoo
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.files import checksums
from zoo.loop import checkpoint

STATE = {"task": "x.Y", "step": 3, "steps_per_epoch": 5, "micro_batch_size": None, "data_state": {}, "facts": {}}
CONTENT = {"zoo": STATE, "state_dict": {"w": torch.arange(100.0)}, "callbacks": {}, "optimizer_states": []}


@pytest.fixture
def saved(tiny_gpt2: Path, text_file: Path, tmp_path: Path) -> Path:
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=16, optimizer=ADAMW)
    trainer(2, folder=tmp_path).fit(task, datamodule=zoo.TextData(train=str(text_file)))
    return tmp_path / "step=2.ckpt"


def test_a_damaged_checkpoint_is_named(saved: Path):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(DataError, match="step=2.ckpt is damaged or no checkpoint"):
        checkpoint.read(saved)


def test_a_foreign_file_is_no_checkpoint(tmp_path: Path):
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(DataError, match="no checkpoint of zoo"):
        checkpoint.read(tmp_path / "x.ckpt")
    with pytest.raises(MissingInputError, match="no such checkpoint"):
        checkpoint.read(tmp_path / "y.ckpt")


def test_a_checkpoint_of_another_network_is_refused(saved: Path, tiny_gpt2: Path):
    other = zoo.CausalLM(
        architecture={"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16},
        tokenizer=str(tiny_gpt2), max_length=16, optimizer=ADAMW,
    )  # fmt: skip
    other.configure_model()
    with pytest.raises(ConfigError, match=r"another network: unexpected: network.transformer.h.1.*another shape"):
        other.load_trained(checkpoint.read(saved))


def test_frozen_parameters_are_not_saved(tiny_gpt2: Path, text_file: Path, tmp_path: Path):
    class Frozen(zoo.CausalLM):
        def configure_model(self) -> None:
            super().configure_model()
            self.network.transformer.h[0].requires_grad_(False)

    task = Frozen(pretrained=str(tiny_gpt2), max_length=16, optimizer=ADAMW)
    trainer(1, folder=tmp_path).fit(task, datamodule=zoo.TextData(train=str(text_file)))
    names = checkpoint.read(tmp_path / "step=1.ckpt")["state_dict"]
    assert not [name for name in names if "h.0." in name and not name.endswith(("attn.bias", "masked_bias"))]
    assert [name for name in names if "h.1." in name]


def test_plain_types_only(saved: Path):
    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        if isinstance(value, (list, tuple)):
            return all(map(plain, value))
        return isinstance(value, (int, float, str, bool, torch.Tensor, type(None)))

    assert plain(checkpoint.read(saved))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.write(tmp_path / "step=3.ckpt", CONTENT)
    return tmp_path / "step=3.ckpt"


def test_a_checkpoint_is_read_as_it_was_written(path: Path):
    assert torch.equal(checkpoint.read(path)["state_dict"]["w"], CONTENT["state_dict"]["w"])


def test_plain_torch_reads_a_checkpoint_too(path: Path):
    assert torch.load(path, weights_only=True)["zoo"] == STATE


def test_every_flipped_bit_is_found(path: Path):
    content, draw = path.read_bytes(), random.Random(0)
    for _ in range(50):
        damaged, at = bytearray(content), draw.randrange(8 * len(content))
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert checkpoint.damage(path)


@pytest.mark.parametrize("length", [0, 10, 100, -1, -76])
def test_a_file_that_was_cut_off_is_found(path: Path, length: int):
    path.write_bytes(path.read_bytes()[:length])
    assert checkpoint.damage(path)


def test_a_file_that_changes_after_it_was_found_whole_is_looked_at_again(path: Path):
    assert checkpoint.damage(path) is None
    path.write_bytes(path.read_bytes() + b"x")
    assert checkpoint.damage(path)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path):
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "exploded").touch, ())

    checkpoint.write(tmp_path / "step=1.ckpt", {"zoo": Bomb()})
    with pytest.raises(DataError, match="more than tensors"):
        checkpoint.read(tmp_path / "step=1.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="damaged or no checkpoint of zoo"):
        checkpoint.DurableIO().load_checkpoint(tmp_path / "plain.ckpt", weights_only=False)
    assert not (tmp_path / "exploded").exists()


def test_an_address_in_the_net_is_refused():
    with pytest.raises(ConfigError, match="Download it first"):
        checkpoint.DurableIO().load_checkpoint("https://example.org/step=1.ckpt")


def test_a_file_of_someone_else_is_named(tmp_path: Path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match=r"other.ckpt is damaged or no checkpoint .*zoo did not write it"):
        checkpoint.read(tmp_path / "other.ckpt")
    with pytest.raises(MissingInputError):
        checkpoint.read(tmp_path / "none.ckpt")


def test_a_disk_that_is_full_is_told_by_its_own_error(path: Path, monkeypatch: pytest.MonkeyPatch):
    class Full:
        def __init__(self, file: Any):
            self.file = file

        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    before, inner = path.read_bytes(), checksums._Hashing.__init__
    monkeypatch.setattr(checksums._Hashing, "__init__", lambda self, file: inner(self, Full(file)))
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(path, CONTENT)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("part", [*CONTENT, *(f"zoo.{name}" for name in STATE)])
def test_a_sealed_file_that_lacks_something_is_named(tmp_path: Path, part: str):
    content = {name: dict(value) if isinstance(value, dict) else value for name, value in CONTENT.items()}
    section, _, name = part.partition(".")
    del (content[section] if name else content)[name or section]  # type: ignore[union-attr]
    checkpoint.write(tmp_path / "step=3.ckpt", content)
    with pytest.raises(DataError, match=rf"step=3.ckpt (cannot be used: it has no {part}|is no checkpoint of zoo)"):
        checkpoint.read(tmp_path / "step=3.ckpt")


@pytest.mark.parametrize("part", ["state_dict", "averaged"])
def test_weights_that_are_nan_are_not_used(tmp_path: Path, part: str):
    weights = torch.ones(5)
    weights[3] = float("nan")
    checkpoint.write(tmp_path / "step=3.ckpt", {**CONTENT, part: {"network.w": weights}})
    with pytest.raises(DataError, match=r"network.w holds NaN"):
        checkpoint.read(tmp_path / "step=3.ckpt")
