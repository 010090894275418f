"""A real Llama (SmolLM2-135M-Instruct) on real text: zoo measures what plain transformers measures."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional as F

pytestmark = [
    pytest.mark.assets,
    pytest.mark.skipif("ZOO_ASSETS" not in os.environ, reason="ZOO_ASSETS names no folder with smollm2"),
]
ASSETS = Path(os.environ.get("ZOO_ASSETS", ""))
FLAGS = ["--model=zoo.CausalLM", f"--model.pretrained={ASSETS / 'smollm2'}", "--model.optimizer=torch.optim.AdamW",
         "--model.optimizer.lr=1e-4", "--data=zoo.TextData", "--trainer.accelerator=cpu"]  # fmt: skip


@pytest.fixture(autouse=True)
def all_threads() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(threads)


def metrics(run: str, split: str = "test") -> dict[str, float]:
    return json.loads(Path(f"runs/{run}/metrics.json").read_text())[split]["metrics"]


def plain_loss(model: Path, text: str, length: int, windows: int) -> float:
    """Nats per token over non-overlapping windows, the first token of each not scored."""
    network = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    ids = torch.tensor(transformers.AutoTokenizer.from_pretrained(model)(text)["input_ids"][: length * windows])
    with torch.inference_mode():
        losses = [network(row[None], labels=row[None]).loss.item() for row in ids.view(windows, length)]
    return sum(losses) / windows


def test_its_perplexity_is_the_one_that_plain_transformers_measures(here: Path, zoo_command: Any):
    """The last 60,000 characters of tiny-shakespeare, twelve windows of 512, 32 bits."""
    Path("tail.txt").write_text((ASSETS / "tinyshakespeare.txt").read_text()[-60_000:])
    flags = [*FLAGS, "--model.max_length=512", "--data.test=tail.txt", "--data.eval_batch_size=4"]
    Path("none.yaml").write_text("{}\n")
    code, _, _ = zoo_command(
        "test", "--config=none.yaml", *flags, "--trainer.limit_test_batches=3", "--trainer.max_steps=1"
    )
    assert code == 0
    found = metrics("none/pretrained")
    assert found["tokens"] == 6132
    assert found["loss"] == pytest.approx(3.38387, abs=5e-6)
    assert found["perplexity"] == pytest.approx(29.4846, abs=5e-5)


def test_after_fine_tuning_it_is_that_of_the_export_in_plain_transformers(here: Path, zoo_command: Any):
    text = (ASSETS / "tinyshakespeare.txt").read_text()
    Path("train.txt").write_text(text[:20_000])
    Path("tail.txt").write_text(text[-3_000:])
    flags = ["--model.max_length=64", "--data.train=train.txt", "--data.validation=tail.txt", "--data.batch_size=2"]
    flags += ["--data.eval_batch_size=4", "--trainer.limit_val_batches=2", "--trainer.limit_test_batches=2"]
    code, _, _ = zoo_command("fit", *FLAGS, *flags, "--trainer.max_steps=2", "--name=real")
    assert code == 0
    assert zoo_command("test", "--run=runs/real/1")[0] == 0
    found = metrics("real/1")
    assert found["tokens"] == 8 * 63
    assert found["loss"] == pytest.approx(plain_loss(here / "runs/real/1/model", text[-3_000:], 64, 8), abs=5e-5)
    shutil.rmtree("runs")  # 1.5 GB


def test_chats_in_its_own_template_have_the_loss_of_the_answers_alone(here: Path, zoo_command: Any):
    chats = [
        [{"role": "user", "content": f"What is {i} + 1?"}, {"role": "assistant", "content": f"It is {i + 1}."}]
        for i in range(5)
    ]
    Path("chats.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    Path("none.yaml").write_text("{}\n")
    flags = ["--config=none.yaml", *FLAGS, "--model.max_length=256", "--data.test=chats.jsonl", "--trainer.max_steps=1"]
    assert zoo_command("test", *flags)[0] == 0
    found = metrics("none/pretrained")
    tokenizer = transformers.AutoTokenizer.from_pretrained(ASSETS / "smollm2")
    network = transformers.AutoModelForCausalLM.from_pretrained(ASSETS / "smollm2", dtype=torch.float32).eval()
    total, count = 0.0, 0
    for chat in chats:
        prompt = tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
        answer = tokenizer(chat[1]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = network(torch.tensor([before + answer])).logits[0, len(before) - 1 : -1]
        total += F.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()
        count += len(answer)
    assert found["tokens"] == count
    assert found["loss"] == pytest.approx(total / count, abs=5e-5)
    assert found["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-4)
