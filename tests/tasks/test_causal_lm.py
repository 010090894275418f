import json
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import TEXT, save_tiny
from contract_cases import ADAMW, SGD, trainer, weights
from tokens.arrow import documents
from torch.nn import functional as F

import zoo
from zoo.errors import ConfigError, DataError, UserError
from zoo.models import documents as attention
from zoo.models import pretrained as hf
from zoo.tokens.sampling import Sampling

LENGTH = 16


def test_the_loss_is_that_of_transformers(tiny_gpt2: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)
    task.configure_model()
    ids = torch.randint(0, 300, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    targets = torch.cat([ids[:, 1:], torch.full((3, 1), -100)], 1)
    total, count = task.eval().loss({"input_ids": ids, "targets": targets})
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_gpt2)
    assert torch.allclose(total / count, network(ids, labels=ids).loss)


def gradients(task: zoo.CausalLM, batches: list[dict[str, Any]]) -> tuple[float, int, torch.Tensor]:
    """Loss sum, count and gradient of the sum over batches."""
    torch.manual_seed(0)
    task.zero_grad()
    pairs = [task.loss(task.to_device(batch)) for batch in batches]
    torch.stack([total for total, _ in pairs]).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in task.parameters()])
    return sum(t.item() for t, _ in pairs), sum(int(c) for _, c in pairs), gradient


def test_a_soft_cap_counts_from_the_first_step_although_it_shows_later(tmp_path: Path, text_file: Path):
    """At initial logits of 0.1 the 30 tanh(x / 30) of Gemma 2 is x. Trained until a third of the cap is reached."""
    folder = tmp_path / "gemma2"
    save_tiny(folder, {"model_type": "gemma2", "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8,
                       "num_key_value_heads": 1, "hidden_size": 16, "intermediate_size": 16})  # fmt: skip
    optimizer = partial(torch.optim.AdamW, lr=0.1)
    task = zoo.CausalLM(pretrained=str(folder), max_length=LENGTH, packing=False, optimizer=optimizer)
    trainer(40).fit(task, datamodule=zoo.TextData(train=str(text_file), batch_size=4))
    ids = task.tokenizer(TEXT[:200], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        output = task.eval().network(ids, labels=ids)
        targets = torch.cat([ids[:, 1:], torch.full((1, 1), -100)], 1)
        total, count = task.loss({"input_ids": ids, "targets": targets})
    assert output.logits.abs().max() > 10
    assert torch.allclose(total / count, output.loss, rtol=1e-5)


@pytest.mark.parametrize("without_mask", [True, False])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_packed_documents_have_the_loss_and_gradients_that_they_have_one_by_one(
    family: str, without_mask: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(attention, "_LONG", 64 if without_mask else 65)
    kinds = {
        "gpt2": {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 64},
        "llama": {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
                  "hidden_size": 16, "intermediate_size": 32},
    }  # fmt: skip
    save_tiny(tmp_path / family, kinds[family])
    samples = [zoo.TextSample(line) for line in TEXT.splitlines()[:9]] + [zoo.TextSample(TEXT[:300])]
    found, windows = {}, {}
    for packing in (True, False):
        task = zoo.CausalLM(pretrained=str(tmp_path / family), max_length=64, packing=packing, optimizer=ADAMW)
        task.configure_model()
        processor = task.processor("train")
        windows[packing] = processor.pack(documents(processor.encode(samples)))
        batches = (
            [processor.collate(list(windows[packing]))]
            if packing
            else [processor.collate([w]) for w in windows[packing]]
        )
        found[packing] = gradients(task, batches)
        assert ("documents" in task.to_device(batches[0])) is (packing and without_mask)
    assert len(windows[True]) < len(windows[False])
    assert found[True][1] == found[False][1]
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-5)
    assert torch.allclose(found[True][2], found[False][2], atol=1e-4)


def test_an_architecture_that_cannot_keep_documents_apart_is_refused(tmp_path: Path):
    save_tiny(tmp_path / "bloom", {"model_type": "bloom", "n_layer": 1, "n_head": 2, "hidden_size": 16})
    task = zoo.CausalLM(pretrained=str(tmp_path / "bloom"), max_length=LENGTH, optimizer=ADAMW)
    task.configure_model()
    with pytest.raises(
        ConfigError, match="bloom cannot mask attention across packed documents. Set model.packing to concat"
    ):
        task.loss(task.example_batch(1))
    for word in ("concat", "joined"):  # what it proposes exists, and its alias
        task = zoo.CausalLM(pretrained="x", packing=word, optimizer=ADAMW)
        assert task.eval_settings("test")["documents"] == "concat"


CHATS = [
    zoo.ChatSample([{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"A fox of {i}."}])
    for i in range(30)
]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501


class Chats(zoo.DataModule):
    def samples(self, split: str) -> list[zoo.ChatSample]:
        return CHATS[:24] if split == "train" else CHATS[24:]


def test_a_chat_model_learns_to_answer_and_to_stop(tiny_gpt2: Path, here: Path):
    Path("chat.jinja").write_text(TEMPLATE)
    sampling = Sampling(temperature=0, max_new_tokens=40)
    task = zoo.CausalLM(
        pretrained=str(tiny_gpt2), max_length=64, chat_template="chat.jinja", sampling=sampling, optimizer=ADAMW
    )
    trainer(60).fit(task, datamodule=Chats(batch_size=4))
    assert all(text.startswith("user: What is ") and "assistant: ⟶A fox of" in text for text in task.preview())
    said = task.predict(["What is 7?"])[0]
    assert said["continuations"][0].startswith("A fox of")
    assert len(said["continuations"][0]) < 40  # it has learned to end
    task.save_model(here / "model")
    saved = transformers.AutoTokenizer.from_pretrained(here / "model")
    assert saved.chat_template == TEMPLATE


def test_conversations_without_a_template_are_refused(tiny_gpt2: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=64, optimizer=ADAMW)
    with pytest.raises(ConfigError, match="this model's tokenizer has no chat template"):
        trainer(1).fit(task, datamodule=Chats(batch_size=4))


def test_the_learned_tokens_of_a_sample_are_marked(tiny_gpt2: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=64, optimizer=ADAMW)
    item = task.processor("train").encode([zoo.CompletionSample("The fox", " jumps")])[0]
    assert task.show_loss_mask(item).endswith("tokens, loss on 2 tokens: The fox⟦ jumps<|endoftext|>⟧")


def test_of_a_long_document_the_beginning_is_shown(tiny_gpt2: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=64, optimizer=ADAMW)
    item = task.processor("train").encode([zoo.TextSample(TEXT)])[0]
    count = len(item["input_ids"])
    assert task.show_loss_mask(item).endswith(f"⟧ … and {count - 512:,} more")
    assert task.show_loss_mask(item).startswith(f"{count} tokens, loss on {count - 1} tokens: The⟦ 0th fox")


def test_perplexity_is_the_exponential_of_the_mean_over_all_scored_tokens(tiny_gpt2: Path, here: Path):
    Path("t.txt").write_text(TEXT[:3000])
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=LENGTH, stride=5, optimizer=ADAMW)
    trainer(0).test(task, datamodule=zoo.TextData(train="t.txt", test="t.txt", batch_size=6), verbose=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_gpt2)
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_gpt2).eval()
    ids = torch.tensor([*tokenizer(TEXT[:3000])["input_ids"], tokenizer.eos_token_id])
    total, count, done = 0.0, 0, 1
    while done < len(ids):  # the sliding window, written out
        start = 0 if done == 1 else done - (LENGTH - 5)
        stop = min(start + LENGTH, len(ids))
        logits = network(ids[None, start:stop]).logits[0, done - start - 1 : -1]
        total += F.cross_entropy(logits, ids[done:stop], reduction="sum").item()
        count, done = count + stop - done, stop
    assert task.last_metrics["tokens"] == count == len(ids) - 1
    assert task.last_metrics["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)


def test_a_loss_of_ones_own_changes_no_perplexity(tiny_gpt2: Path, here: Path):
    class Tenth(zoo.CausalLM):
        def loss(self, batch: dict[str, Any]) -> Any:
            total, count = super().loss(batch)
            return total / 10, count

    Path("test.txt").write_text(TEXT)
    perplexities = []
    for kind in (zoo.CausalLM, Tenth):
        task = kind(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)
        trainer(1).test(task, zoo.TextData(test="test.txt", batch_size=4), verbose=False)
        perplexities.append(task.last_metrics["perplexity"])
    assert perplexities[0] == perplexities[1] > 1


def test_the_export_has_the_same_logits_in_plain_transformers(tiny_gpt2: Path, here: Path, text_file: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)
    trainer(2).fit(task, datamodule=zoo.TextData(train=str(text_file)))
    task.save_model(here / "model")
    ids = torch.arange(10)[None]
    pipeline = transformers.pipeline("text-generation", str(here / "model"))
    assert torch.equal(pipeline.model(ids).logits, task.eval().network(ids).logits)
    assert pipeline("The fox", max_new_tokens=3, do_sample=False)[0]["generated_text"].startswith("The fox")


def test_checkpointing_changes_no_gradient(tiny_gpt2: Path, text_file: Path):
    def trained(on: bool) -> torch.Tensor:
        settings = {"pretrained": str(tiny_gpt2), "max_length": LENGTH, "dropout": 0.2, "optimizer": ADAMW}
        task = zoo.CausalLM(gradient_checkpointing=on, **settings)
        trainer(3).fit(task, datamodule=zoo.TextData(train=str(text_file)))
        return torch.cat([p.detach().flatten() for p in task.parameters()])

    assert torch.allclose(trained(True), trained(False), atol=1e-6)


def test_the_dropout_setting_reaches_every_dropout_of_every_family(tiny_gpt2: Path):
    for kind in ("gpt2", "llama", "mistral", "phi", "gemma", "qwen2"):
        config = hf.make_config({"model_type": kind})
        hf.set_dropout(config, 0.25)
        found = {k: v for k, v in config.to_dict().items() if "dropout" in k or k.endswith("pdrop")}
        assert found
        assert {v for v in found.values() if isinstance(v, float)} == {0.25}


def test_a_config_with_settings_that_its_type_does_not_know_is_none_the_worse(tiny_gpt2: Path, here: Path):
    """Real ones have them: _model_name_or_path, transformers.js_config …"""
    shutil.copytree(tiny_gpt2, "real")
    config = json.loads(Path("real/config.json").read_text())
    Path("real/config.json").write_text(json.dumps(config | {"unk_token_id": 0, "of_another_tool": {"a": 1}}))
    Path("t.txt").write_text(TEXT[:3000])
    task = zoo.CausalLM(pretrained="real", max_length=LENGTH, optimizer=ADAMW)
    trainer(1).fit(task, datamodule=zoo.TextData(train="t.txt"))
    assert task.network.config.of_another_tool == {"a": 1}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model_type": "gpt2", "n_layers": 2}, "gpt2 has no n_layers; did you mean n_layer?"),
        ({"model_type": "gpt2", "n_embd": 10, "n_head": 3}, "gpt2 cannot be built with these settings.*divisible"),
        ({"model_type": "gpt2", "n_embd": "wide"}, "gpt2 does not take these settings.*expected int, got str"),
        ({"model_type": "llama", "hidden_size": 10, "num_attention_heads": 3}, "llama .*multiple of the number"),
        ({"model_type": "gpt2", "n_embd": -8}, "gpt2 cannot be built"),
    ],
)
def test_an_architecture_that_cannot_be_is_one_line(settings: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says) as found:
        hf.build_causal_lm(hf.make_config(settings))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("mistake", ["no_such.txt", "empty.txt"])
def test_mistakes_of_the_data_show_before_the_weights_are_loaded(
    tiny_gpt2: Path, here: Path, monkeypatch: Any, mistake: str
):
    def loaded(*args: Any) -> None:
        raise AssertionError("the weights were loaded first")

    Path("empty.txt").write_text("\n \n")
    monkeypatch.setattr(hf, "load_causal_lm", loaded)
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)
    with pytest.raises(UserError, match=mistake):
        trainer(1).fit(task, datamodule=zoo.TextData(train=mistake))


class FrozenWords(zoo.CausalLM):
    def configure_model(self) -> None:
        super().configure_model()
        self.network.transformer.wte.requires_grad_(False)


def test_what_a_subclass_freezes_is_the_pretrained_again_after_loading(tiny_gpt2: Path, here: Path, text_file: Path):
    def made() -> FrozenWords:
        return FrozenWords(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)

    trained, again = made(), made()
    trainer(2, here / "saved").fit(trained, datamodule=zoo.TextData(train=str(text_file)))
    checkpoint = torch.load(here / "saved" / "step=2.ckpt")
    assert not [name for name in checkpoint["state_dict"] if "wte" in name]
    again.restore(checkpoint)
    again.configure_model()
    again.load_trained(checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), again.parameters(), strict=True))


def test_left_padding_does_not_change_a_greedy_continuation(tiny_gpt2: Path):
    sampling = Sampling(max_new_tokens=8, temperature=0)
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), sampling=sampling, max_length=LENGTH, optimizer=ADAMW)
    task.configure_model()
    together = task.predict(["The fox", "The 3th fox jumps over 9 lazy dogs"])
    apart = [task.predict([prompt])[0] for prompt in ("The fox", "The 3th fox jumps over 9 lazy dogs")]
    assert together == apart


def test_predictions_depend_on_the_seed_alone(tiny_gpt2: Path):
    sampling = Sampling(max_new_tokens=8, num_sequences=2)
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), sampling=sampling, max_length=LENGTH, optimizer=ADAMW)
    task.configure_model()
    one, same, other = (task.predict(["The fox"], seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one[0]["continuations"]) == 2


def test_sampling_is_set_for_a_call_alone(tiny_gpt2: Path):
    def model(**sampling: Any) -> zoo.CausalLM:
        settings = Sampling(**{"max_new_tokens": 4, **sampling})
        task = zoo.CausalLM(pretrained=str(tiny_gpt2), sampling=settings, max_length=LENGTH, optimizer=ADAMW)
        task.configure_model()
        return task

    asked = {"max_new_tokens": 6, "temperature": 1.5, "top_k": 0, "top_p": 0.9, "num_sequences": 2}
    task = model()
    usual = task.predict("The fox", seed=1)
    assert task.predict("The fox", seed=1, **asked) == model(**asked).predict("The fox", seed=1) != usual
    assert task.predict("The fox", seed=1) == usual
    assert task.predict([], **asked) == []
    assert task.predict("The", temperature=0, seed=1) == task.predict("The", temperature=0, seed=2)


@pytest.mark.parametrize(
    ("inputs", "sampling", "says"),
    [
        (5, {}, "predict() continues texts, and got 5."),
        (["a", None], {}, "predict() continues texts, and got None."),
        (b"a", {}, "got b'a'."),
        ("a", {"max_tokens": 3}, "predict() has no max_tokens. How text is generated is set by max_new_tokens, temp"),
        ("a", {"max_new_tokens": 2.5}, "max_new_tokens is 2.5; expected a whole number."),
        ("a", {"temperature": "hot"}, "temperature is 'hot'; expected a number."),
        ("a", {"temperature": -1}, "Sampling.temperature is -1"),
        ("a", {"num_sequences": 0}, "Sampling.num_sequences is 0"),
    ],
)
def test_nonsense_for_predict_is_one_line(tiny_gpt2: Path, inputs: Any, sampling: Any, says: str):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)
    usual = task.sampling
    with pytest.raises(UserError) as caught:
        task.predict(inputs, **sampling)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert task.sampling is usual


def test_a_prompt_without_room_for_a_token_is_refused(tiny_gpt2: Path):
    task = zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=LENGTH, optimizer=ADAMW)
    task.configure_model()
    with pytest.raises(DataError, match="64 positions in all"):
        task.predict([TEXT])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "one of CausalLM.pretrained and CausalLM.architecture"),
        ({"pretrained": "a", "architecture": "b"}, "one of CausalLM.pretrained"),
        ({"architecture": {"model_type": "gpt2"}}, "one of CausalLM.tokenizer and CausalLM.vocab_size"),
        ({"pretrained": "a", "max_length": 8, "stride": 9}, "CausalLM.stride is 9"),
        ({"pretrained": "a", "micro_batch_size": 0}, "Task.micro_batch_size is 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_once(settings: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        zoo.CausalLM(optimizer=ADAMW, **settings)


def test_weights_that_do_not_match_are_refused_by_name(tiny_gpt2: Path, here: Path):
    from safetensors.torch import load_file, save_file

    folder = here / "broken"
    hf.load_causal_lm(str(tiny_gpt2), hf.load_config(str(tiny_gpt2))).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("transformer.h.0.attn.c_attn.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"1 missing \(transformer.h.0.attn.c_attn.weight\)"):
        hf.load_causal_lm(str(folder), hf.load_config(str(folder)))


def test_a_window_longer_than_the_positions_is_refused(tiny_gpt2: Path):
    with pytest.raises(ConfigError, match="max_length is 65; this architecture has 64 positions"):
        zoo.CausalLM(pretrained=str(tiny_gpt2), max_length=65, optimizer=ADAMW).config()


def test_a_piece_is_as_long_as_its_own_longest_sample(tiny_gpt2: Path, text_file: Path):
    """Padding that only others need does not reach the network, and the training stays the same."""

    def trained(size: int | None) -> tuple[torch.Tensor, list[int]]:
        seen: list[int] = []

        class Watched(zoo.CausalLM):
            def loss(self, batch: Any) -> Any:
                if torch.is_grad_enabled():
                    seen.append(batch["input_ids"].shape[1])
                    assert batch["targets"].shape == batch["input_ids"].shape
                return super().loss(batch)

        task = Watched(
            pretrained=str(tiny_gpt2), max_length=64, packing=False, micro_batch_size=size, optimizer=SGD, stride=8
        )
        data = zoo.TextData(train=str(text_file), documents="lines", batch_size=5)
        trainer(3, limit_val_batches=0).fit(task, datamodule=data)
        return weights(task), seen

    (whole, longest), (pieces, own) = trained(None), trained(1)
    assert torch.allclose(whole, pieces, atol=1e-6)
    assert [max(own[5 * i : 5 * i + 5]) for i in range(3)] == longest
    assert min(own) < min(longest)


def test_a_token_without_an_embedding_is_refused_before_it_reaches_the_network(
    tiny_gpt2: Path, text_file: Path, tmp_path: Path
):
    """On a GPU it would end the process; the tokenizer has 300 tokens, the network knows 280."""
    architecture = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 280}
    config = hf.make_config({**architecture, "bos_token_id": 0, "eos_token_id": 0})
    hf.build_causal_lm(config).save_pretrained(tmp_path)
    hf.load_tokenizer(str(tiny_gpt2)).save_pretrained(tmp_path)
    task = zoo.CausalLM(pretrained=str(tmp_path), max_length=16, optimizer=SGD)
    with pytest.raises(DataError, match=r"data\.(train|validation) has token \d+, .* tokens below 280"):
        trainer(5).fit(task, datamodule=zoo.TextData(train=str(text_file)))
    assert int(task.example_batch(500)["input_ids"].max()) < 280


def test_a_task_that_shows_nothing_of_its_own_shows_its_samples_all_the_same(
    tiny_gpt2: Path, text_file: Path, capsys: pytest.CaptureFixture[str]
):
    class Plain(zoo.CausalLM):
        show_loss_mask = zoo.Task.show_loss_mask

    task = Plain(pretrained=str(tiny_gpt2), max_length=16, optimizer=SGD)
    trainer(0).fit(task, datamodule=zoo.TextData(train=str(text_file), documents="lines", show=2))
    assert capsys.readouterr().out.count("input_ids [") == 2
