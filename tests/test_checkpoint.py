from pathlib import Path

import pytest
import torch
from contract_cases import ADAMW, trainer

import zoo
from zoo import checkpoint
from zoo.errors import ConfigError, DataError, MissingInputError


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
