from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT

import zoo
from zoo.errors import ConfigError, DataError
from zoo.models import pretrained as hf
from zoo.tokens import processors
from zoo.tokens.processors import PromptProcessor, TokenProcessor, whole_words

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETS = CHATML.replace("m.content", "(m.content if loop.last else m.content.split('thought')[-1])")
TURNS = [
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "A thought of a fox."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "dogs"},
]


@pytest.fixture
def tokenizer(tiny_gpt2: Path) -> Any:
    return hf.load_tokenizer(str(tiny_gpt2))


@pytest.fixture
def chat_tokenizer(tokenizer: Any) -> Any:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


def text_with_loss(tokenizer: Any, item: dict[str, Any]) -> str:
    return tokenizer.decode(item["input_ids"][item["loss_mask"] == 1])


def test_documents_end_with_exactly_one_eos(tokenizer: Any):
    end = tokenizer.eos_token
    items = TokenProcessor(tokenizer, 16, 16).encode([zoo.TextSample(text) for text in ("fox", "", f"dogs{end}")])
    assert [tokenizer.decode(item["input_ids"]) for item in items] == [f"fox{end}", end, f"dogs{end}"]


def test_a_document_begins_with_exactly_one_bos_where_its_tokenizer_adds_one(tokenizer: Any):
    from tokenizers.processors import TemplateProcessing

    tokenizer.add_special_tokens({"bos_token": "<s>"})
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}\n{% endfor %}"
    encode = TokenProcessor(tokenizer, 16, 16).encode
    for samples in ([zoo.TextSample("fox"), zoo.TextSample("<s>fox")], [zoo.ChatSample(TURNS)]):
        assert [list(item["input_ids"]).count(begin) for item in encode(samples)] == [1] * len(samples)
    tokenizer.chat_template = tokenizer.chat_template.removeprefix("{{ bos_token }}")
    chat = encode([zoo.ChatSample(TURNS)])[0]["input_ids"]
    assert (chat[0], list(chat).count(begin)) == (begin, 1)
    prompt = PromptProcessor(tokenizer).encode([zoo.ChatSample(TURNS[:1])])[0]["input_ids"]
    assert prompt == list(chat[: len(prompt)])


def test_a_long_document_is_tokenised_in_parts_with_the_same_tokens(tokenizer: Any, monkeypatch: Any):
    whole = TokenProcessor(tokenizer, 16, 16).encode([zoo.TextSample(TEXT), zoo.TextSample("fox")])
    monkeypatch.setattr(processors, "_PART", 1000)
    calls: list[int] = []
    parts = list(processors._parts(TEXT))
    calls += [len(part) for part in parts]
    assert len(calls) > 10
    assert "".join(parts) == TEXT
    again = TokenProcessor(tokenizer, 16, 16).encode([zoo.TextSample(TEXT), zoo.TextSample("fox")])
    assert all(np.array_equal(a["input_ids"], b["input_ids"]) for a, b in zip(whole, again, strict=True))


def sentencepiece(kind: str) -> Any:
    """As Llama's (a blank before every text by its normaliser) and as T5's (by Metaspace), without BOS."""
    import tokenizers as hub
    from transformers import PreTrainedTokenizerFast

    made = hub.Tokenizer(hub.models.BPE(byte_fallback=True) if kind == "llama" else hub.models.Unigram())
    specials = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    if kind == "llama":
        blanks = [hub.normalizers.Prepend("\u2581"), hub.normalizers.Replace(" ", "\u2581")]
        made.normalizer = hub.normalizers.Sequence(blanks)
        made.decoder = hub.decoders.Sequence(
            [hub.decoders.Replace("\u2581", " "), hub.decoders.ByteFallback(), hub.decoders.Fuse(),
             hub.decoders.Strip(" ", 1, 0)]
        )  # fmt: skip
        trainer = hub.trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    else:
        made.pre_tokenizer = hub.pre_tokenizers.Metaspace()
        made.decoder = hub.decoders.Metaspace()
        trainer = hub.trainers.UnigramTrainer(
            vocab_size=200, special_tokens=specials[:2], unk_token="<unk>", show_progress=False
        )
    made.train_from_iterator(TEXT.splitlines() if kind == "llama" else [TEXT], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_a_part_of_a_long_document_is_no_new_beginning(kind: str, monkeypatch: Any):
    tokenizer = sentencepiece(kind)
    whole = tokenizer(TEXT)["input_ids"]
    monkeypatch.setattr(processors, "_PART", 1000)
    assert len(list(processors._parts(TEXT))) > 10
    found = TokenProcessor(tokenizer, 16, 16).encode([zoo.TextSample(TEXT), zoo.TextSample("fox")])
    assert found[0]["input_ids"].tolist() == [*whole, tokenizer.eos_token_id]


def test_where_a_token_crosses_the_seam_the_document_is_tokenised_whole(tokenizer: Any, monkeypatch: Any):
    tokenizer.add_tokens(["days.\nThe"])
    whole = tokenizer(TEXT)["input_ids"]
    monkeypatch.setattr(processors, "_PART", 1000)
    found = TokenProcessor(tokenizer, 16, 16).encode([zoo.TextSample(TEXT)])
    assert found[0]["input_ids"].tolist() == [*whole, tokenizer.eos_token_id]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_a_continuation_keeps_its_leading_blank(kind: str):
    tokenizer = sentencepiece(kind)
    ids = torch.tensor([tokenizer("The fox jumps over", add_special_tokens=False)["input_ids"]])
    starts = [k for k in range(1, ids.shape[1]) if tokenizer.convert_ids_to_tokens(int(ids[0, k])).startswith("\u2581")]
    for k in starts:
        said = processors.continuations(tokenizer, ids[:, :k], ids[:, k:])[0]
        assert said.startswith(" ")
        assert tokenizer.decode(ids[0, :k]) + said == "The fox jumps over"


def test_the_real_eos_is_a_target_although_it_also_pads(tokenizer: Any):
    processor = TokenProcessor(tokenizer, 16, 16)
    end = tokenizer.eos_token_id
    short = {"input_ids": np.array([5, 6, end]), "targets": np.array([6, end, -100]), "position_ids": np.arange(3)}
    long = {"input_ids": np.arange(5), "targets": np.array([1, 2, 3, 4, -100]), "position_ids": np.arange(5)}
    batch = processor.collate([{**short, "segments": 1}, {**long, "segments": 1}])
    assert batch["targets"][0].tolist() == [6, end, -100, -100, -100]
    assert "position_ids" not in batch  # nothing is packed: the fast kernel


def test_what_the_assistant_says_is_learned_with_the_marker_that_ends_it(chat_tokenizer: Any):
    items = TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.ChatSample(TURNS)])
    assert [text_with_loss(chat_tokenizer, item) for item in items] == ["A thought of a fox.<|im_end|>dogs<|im_end|>"]
    text = chat_tokenizer.apply_chat_template(TURNS, tokenize=False)
    assert items[0]["input_ids"].tolist() == chat_tokenizer(text)["input_ids"]


def test_a_template_that_changes_earlier_turns_gives_a_text_for_each(chat_tokenizer: Any):
    chat_tokenizer.chat_template = FORGETS
    items = TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.ChatSample(TURNS)])
    assert [text_with_loss(chat_tokenizer, item) for item in items] == [
        "A thought of a fox.<|im_end|>",
        "dogs<|im_end|>",
    ]
    assert "A thought" in chat_tokenizer.decode(items[0]["input_ids"])
    assert "A thought" not in chat_tokenizer.decode(items[1]["input_ids"])


def test_a_completion_is_learned_and_ended_and_its_prompt_is_not(tokenizer: Any):
    item = TokenProcessor(tokenizer, 64, 64).encode([zoo.CompletionSample("The fox", " jumps")])[0]
    assert text_with_loss(tokenizer, item) == f" jumps{tokenizer.eos_token}"
    assert tokenizer.decode(item["input_ids"]) == f"The fox jumps{tokenizer.eos_token}"


def test_a_completion_goes_through_the_template_of_a_chat_model(chat_tokenizer: Any):
    item = TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.CompletionSample("Who?", "dogs")])[0]
    assert chat_tokenizer.decode(item["input_ids"]).startswith("<|im_start|>user\nWho?<|im_end|>")
    assert text_with_loss(chat_tokenizer, item) == "dogs<|im_end|>"


def test_a_template_without_a_marker_gets_eos(tokenizer: Any):
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501
    item = TokenProcessor(tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:2])])[0]
    assert text_with_loss(tokenizer, item) == f"A thought of a fox.{tokenizer.eos_token}"


@pytest.mark.parametrize("last", ["</tool_call>", "<unk>"])
def test_a_sample_that_ends_with_another_added_token_is_ended_all_the_same(tokenizer: Any, last: str):
    tokenizer.add_special_tokens({"unk_token": "<unk>", "additional_special_tokens": ["</tool_call>"]})
    end = tokenizer.eos_token
    item = TokenProcessor(tokenizer, 64, 64).encode([zoo.CompletionSample("The fox", f" jumps{last}")])[0]
    assert text_with_loss(tokenizer, item) == f" jumps{last}{end}"
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501
    item = TokenProcessor(tokenizer, 64, 64).encode([zoo.CompletionSample("Who?", f"A fox.{last}")])[0]
    assert text_with_loss(tokenizer, item) == f"A fox.{last}{end}"


def test_what_ends_an_answer_comes_right_after_it(tokenizer: Any):
    """After a newline that is not learned, it would never come."""
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501
    item = TokenProcessor(tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:2])])[0]
    assert tokenizer.decode(item["input_ids"]).endswith(f"A thought of a fox.{tokenizer.eos_token}")


def test_the_plain_template_ends_each_turn_with_the_one_token_that_every_tokenizer_has(tokenizer: Any):
    hf.set_chat_template(tokenizer, "plain")
    item = TokenProcessor(tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:2])])[0]
    end, (user, assistant) = tokenizer.eos_token, [turn["content"] for turn in TURNS[:2]]
    assert tokenizer.decode(item["input_ids"]).strip() == f"user: {user}{end}\nassistant: {assistant}{end}"
    assert text_with_loss(tokenizer, item) == f"{assistant}{end}"


def test_a_conversation_in_which_the_assistant_is_silent_has_nothing_to_learn(chat_tokenizer: Any):
    item = TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:1])])[0]
    assert item["loss_mask"].sum() == 0


def test_what_a_template_refuses_is_told_in_one_line(chat_tokenizer: Any):
    chat_tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="refuses a conversation of user, assistant: roles must alternate"):
        TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:2])])


def test_a_template_whose_beginning_depends_on_the_answer_is_refused(chat_tokenizer: Any):
    chat_tokenizer.chat_template = "{{ messages | length }}" + CHATML
    with pytest.raises(ConfigError, match="writes the beginning of a conversation differently"):
        TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:2])])


def test_texts_and_conversations_do_not_mix(chat_tokenizer: Any):
    with pytest.raises(DataError, match="mix plain texts.* with conversations"):
        TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.TextSample("fox"), zoo.ChatSample(TURNS)])


@pytest.mark.parametrize("change", ["template", "vocabulary"])
def test_another_template_or_tokenizer_is_another_fingerprint(chat_tokenizer: Any, change: str):
    before = TokenProcessor(chat_tokenizer, 64, 64).fingerprint()
    if change == "template":
        chat_tokenizer.chat_template = FORGETS
    else:
        chat_tokenizer.add_tokens(["foxes"])
    assert TokenProcessor(chat_tokenizer, 64, 64).fingerprint() != before


def test_a_prompt_to_a_chat_model_is_what_training_saw_before_the_answer(chat_tokenizer: Any):
    training = TokenProcessor(chat_tokenizer, 64, 64).encode([zoo.ChatSample(TURNS[:2])])[0]
    before = training["input_ids"][: int(np.argmax(training["loss_mask"]))].tolist()
    prompts = PromptProcessor(chat_tokenizer, chat=True)
    items = prompts.encode([zoo.TextSample("Who?"), zoo.ChatSample(TURNS[:1]), zoo.ChatSample(TURNS[:2])])
    assert [item["input_ids"] for item in items] == [before] * 3
    assert [item["prompt"] for item in items] == ["Who?"] * 3


def test_a_plain_prompt_is_itself(chat_tokenizer: Any):
    item = PromptProcessor(chat_tokenizer).encode([zoo.TextSample("The fox")])[0]
    assert chat_tokenizer.decode(item["input_ids"]) == "The fox"


HINDI = "नदी के किनारे एक छोटा सा गाँव था और वहाँ बहुत से लोग रहते थे। " * 9
CHINESE = "河边有一个小村庄那里住着很多人" * 9


@pytest.mark.parametrize("text", [TEXT, HINDI])
@pytest.mark.parametrize("cut", range(1, 12))
def test_a_beginning_starts_and_ends_with_a_word_wherever_the_window_begins(text: str, cut: int):
    tokenizer = hf.train_tokenizer([text], 300)
    ids = tokenizer.encode(text)[cut : cut + 60]
    found = tokenizer.decode(whole_words(tokenizer, ids, 12))
    assert found.split()
    assert {*found.split()} <= {*text.split()}
    assert not found[-1:].isspace()
    assert found in tokenizer.decode(ids)


def test_a_beginning_without_blanks_is_that_of_the_window():
    tokenizer = hf.train_tokenizer([CHINESE], 300)
    ids = tokenizer.encode(CHINESE)
    assert whole_words(tokenizer, ids, 12) == ids[:12]


@pytest.mark.parametrize("text", ["", "a", " ", "a b", "\n\n\n"])
def test_a_short_window_has_a_beginning_too(text: str):
    tokenizer = hf.train_tokenizer([TEXT], 300)
    ids = tokenizer.encode(text)
    assert len(whole_words(tokenizer, ids, 12)) >= min(1, len(ids))
