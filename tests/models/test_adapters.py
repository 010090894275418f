import json
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from conftest import TEXT, save_tiny
from contract_cases import ADAMW, trainer
from lightning.pytorch import Callback
from torch import Tensor

import zoo
from zoo.errors import ConfigError
from zoo.models import adapters
from zoo.models import pretrained as hf
from zoo.models.adapters import ALL_LINEAR, Lora

IDS = torch.arange(12).view(2, 6) * 7 % 300
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 64},
    "llama": {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
              "hidden_size": 16, "intermediate_size": 32},
}  # fmt: skip
WAYS = {
    "lora": Lora(rank=4),
    "rslora": Lora(rank=4, rslora=True),
    "dora": Lora(rank=4, dora=True),
    "few targets": Lora(rank=2, targets=["c_attn", "q_proj"]),
    "a whole head": Lora(rank=2, modules_to_save=["lm_head"]),
}


@pytest.fixture(scope="module", params=list(KINDS))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / request.param
    save_tiny(folder, {**KINDS[request.param], "tie_word_embeddings": False})
    return folder


def targets_of(network: Any, lora: Lora) -> Lora:
    """Without the names that only the other family has."""
    names = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    kept = [word for word in lora.targets or [] if word in names]
    return Lora(**{**vars(lora), "targets": kept or None})


def adapted(base: Path, lora: Lora, dtype: torch.dtype = torch.float32) -> Any:
    """A network with adapters that are not zero any more."""
    torch.manual_seed(1)
    network = hf.load_causal_lm(str(base), hf.load_config(str(base)), dtype)
    adapters.attach(network, targets_of(network, lora), ALL_LINEAR)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def logits(network: Any) -> Tensor:
    with torch.no_grad():
        return network(IDS).logits


def test_new_adapters_change_nothing_and_only_they_are_trained(base: Path):
    network = hf.load_causal_lm(str(base), hf.load_config(str(base))).eval()
    before = logits(network)
    adapters.attach(network, Lora(rank=4), ALL_LINEAR)
    assert torch.equal(logits(network), before)
    assert all((".lora_" in name) == p.requires_grad for name, p in network.named_parameters())
    assert not any("lm_head" in name for name, p in network.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("way", list(WAYS))
def test_merged_adapters_give_the_same_logits(base: Path, way: str):
    network = adapted(base, WAYS[way])
    apart = logits(network)
    adapters.merge(network)
    assert torch.allclose(logits(network), apart, atol=1e-5)
    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    assert [name for name, _ in network.named_parameters()] == [name for name, _ in plain.named_parameters()]


@pytest.mark.parametrize("way", list(WAYS))
def test_plain_peft_and_transformers_load_what_is_saved(base: Path, way: str, tmp_path: Path):
    network = adapted(base, WAYS[way])
    adapters.save(network, tmp_path, str(base))
    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    by_peft = peft.PeftModel.from_pretrained(plain, str(tmp_path))
    # transformers 5.23 by itself does not find the magnitudes of DoRA
    others = [] if way == "dora" else [transformers.AutoModelForCausalLM.from_pretrained(tmp_path)]
    for loaded in (by_peft, *others):
        assert torch.allclose(logits(loaded.eval()), logits(network), atol=1e-6)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)


def test_adapters_beside_16_bits_are_in_32(base: Path):
    network = adapted(base, Lora(rank=4), torch.bfloat16)
    assert {p.dtype for p in network.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in network.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_a_target_that_no_layer_has_is_one_line(base: Path):
    network = hf.load_causal_lm(str(base), hf.load_config(str(base)))
    with pytest.raises(ConfigError, match=r"targets: no linear layer is called 'query'; there are .*(c_attn|q_proj)"):
        adapters.attach(network, Lora(targets=["query"]), ALL_LINEAR)
    with pytest.raises(ConfigError, match="modules_to_save: the network has no module that is called 'classifier'"):
        adapters.attach(network, Lora(modules_to_save=["classifier"]), ALL_LINEAR)


def test_a_tied_head_is_not_trained_alone(tiny_gpt2: Path):
    network = hf.load_causal_lm(str(tiny_gpt2), hf.load_config(str(tiny_gpt2)))
    with pytest.raises(ConfigError, match="modules_to_save: lm_head shares its weights with another layer"):
        adapters.attach(network, Lora(modules_to_save=["lm_head"]), ALL_LINEAR)
    adapters.attach(network, Lora(modules_to_save=["ln_f"]), ALL_LINEAR)


def test_another_base_has_another_fingerprint(base: Path):
    network = hf.load_causal_lm(str(base), hf.load_config(str(base)))
    first = adapters.fingerprint(network)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert adapters.is_of(hf.load_causal_lm(str(base), hf.load_config(str(base)), dtype), first)
    network.get_input_embeddings().weight.data[0] += 1e-3
    assert not adapters.is_of(network, first)


# In training -----------------------------------------------------------------------------------------------------


def task_of(base: Path, **settings: Any) -> zoo.CausalLM:
    optimizer = partial(torch.optim.SGD, lr=0.1)
    return zoo.CausalLM(
        **{"pretrained": str(base), "max_length": 16, "optimizer": optimizer, "lora": Lora(rank=4), **settings}
    )


@pytest.fixture
def data(text_file: Path) -> zoo.TextData:
    return zoo.TextData(train=str(text_file), documents="lines", batch_size=4)


class Batches(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.seen.append(batch)


def test_training_is_that_of_plain_transformers_and_peft(base: Path, data: zoo.TextData):
    """The same adapters, batches, mean over tokens and optimizer, by peft's own wrapper."""
    batches, task = Batches(), task_of(base, schedule="constant", packing=False)
    reference: dict[str, Any] = {}

    class Copy(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            reference.update({n: p.detach().clone() for n, p in pl_module.network.named_parameters()})

    trainer(6, callbacks=[batches, Copy()], limit_val_batches=0).fit(task, datamodule=data)
    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", fan_in_fan_out="gpt2" in str(base))
    theirs = peft.get_peft_model(plain, config).eval()  # without GPT-2's own dropout
    named = {name.removeprefix("base_model.model."): p for name, p in theirs.named_parameters()}
    for name, p in named.items():
        p.data.copy_(reference[name])
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for batch in batches.seen:
        optimizer.zero_grad()
        predicted = theirs(batch["input_ids"]).logits.flatten(0, 1)
        torch.nn.functional.cross_entropy(predicted, batch["targets"].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    ours = dict(task.network.named_parameters())
    assert all(torch.allclose(p, ours[name], atol=1e-5) for name, p in named.items())
    assert any(not torch.equal(p, reference[name]) for name, p in ours.items())


def test_a_checkpoint_holds_adapters_and_nothing_of_the_base(base: Path, data: zoo.TextData, tmp_path: Path):
    trainer(2, folder=tmp_path, limit_val_batches=0).fit(task_of(base), datamodule=data)
    kept = torch.load(tmp_path / "step=2.ckpt", weights_only=True)["state_dict"]
    assert kept
    assert all(".lora_" in name for name in kept)


def test_a_run_beside_another_base_is_refused(base: Path, data: zoo.TextData, tmp_path: Path):
    trainer(2, folder=tmp_path, limit_val_batches=0).fit(task_of(base), datamodule=data)
    other = tmp_path / "other"
    network = hf.load_causal_lm(str(base), hf.load_config(str(base)))
    network.get_input_embeddings().weight.data += 0.1
    network.save_pretrained(other)
    hf.load_tokenizer(str(base)).save_pretrained(other)
    checkpoint = torch.load(tmp_path / "step=2.ckpt", weights_only=True)
    task = task_of(other)
    task.restore(checkpoint)
    with pytest.raises(ConfigError, match="are not those that the adapters of this run were trained beside"):
        task.configure_model()


class Cut(zoo.CausalLM):
    """A loss that one layer has no part in, from some step on."""

    since = 0

    def configure_model(self) -> None:
        super().configure_model()
        layers = getattr(self.network.base_model, "h", None) or self.network.base_model.layers
        part = layers[0].mlp
        part.register_forward_hook(lambda _, __, out: out.detach() if self.global_step >= self.since else out)


@pytest.mark.parametrize(("since", "validates"), [(0, False), (2, True)])
def test_an_adapter_that_learns_nothing_stops_the_run_at_once_or_after_the_first_validation(
    base: Path, data: zoo.TextData, since: int, validates: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Cut, "since", since)
    task = Cut(pretrained=str(base), max_length=16, optimizer=ADAMW, lora=Lora(rank=4))
    limits = {"val_check_interval": 2, "limit_val_batches": 1 if validates else 0}
    with pytest.raises(ConfigError, match=r"adapters learn nothing, .*: network\..*mlp.*lora_"):
        trainer(6, **limits).fit(task, datamodule=data)
    assert task.global_step == since


def test_a_run_of_adapters_goes_through_the_command_line(base: Path, here: Path, zoo_command: Any):
    (here / "fox.txt").write_text(TEXT)
    flags = ["--model=zoo.CausalLM", f"--model.pretrained={base}", "--model.max_length=16", "--model.lora.rank=4",
             "--data=zoo.TextData", "--data.train=fox.txt", "--data.batch_size=4", "--trainer.max_steps=3",
             "--trainer.accelerator=cpu", "--trainer.precision=bf16-mixed"]  # fmt: skip
    code, said, complained = zoo_command("fit", "--name=lora", *flags)
    assert code == 0, complained
    assert "lora: " in said
    assert "parameters are trained" in said
    code, _, complained = zoo_command("test")
    assert code == 0, complained
    loaded = zoo.load("runs/lora/1")
    plain = transformers.AutoModelForCausalLM.from_pretrained("runs/lora/1/model").eval()
    with torch.no_grad():
        assert torch.allclose(loaded.network(IDS).logits, plain(IDS).logits, atol=1e-5)


def test_a_folder_of_adapters_is_no_model_to_start_from(base: Path, tmp_path: Path):
    adapters.save(adapted(base, Lora(rank=4)), tmp_path, "gpt2")
    with pytest.raises(ConfigError, match="holds adapters of gpt2 and no model of its own. Start from gpt2"):
        hf.load_config(str(tmp_path))


def test_adapters_need_weights_that_are_there(zoo_command: Any, here: Path):
    flags = ["--model=zoo.CausalLM", "--model.architecture.model_type=gpt2", "--model.vocab_size=300",
             "--model.lora.rank=4", "--data=zoo.TextData", "--data.train=x.txt"]  # fmt: skip
    code, _, complained = zoo_command("fit", *flags)
    assert code == 2
    assert "model.lora needs model.pretrained" in complained
