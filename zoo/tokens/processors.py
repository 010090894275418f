"""Texts, conversations and prompts to token ids."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import DataError
from zoo.samples import Batch, ChatSample, CompletionSample, Item, Processor, TextSample
from zoo.tokens import conversations
from zoo.tokens.windows import IGNORED, Packing, Windows

_PART = 200_000
"""Characters that the tokenizer gets at a time: so that long documents too are divided among the cores."""
_CONTEXT = 16
"""Tokens of a prompt that decide how its continuation is written."""
_SEAM = re.compile(r"(?<=\S\n)(?=\S)")


class TokenProcessor(Processor):
    """Documents to tokens, each ended by EOS; of conversations and completions also which tokens carry loss.

    Args:
        length, stride, packing: of the windows that the tokens are arranged in, see `Windows`.
    """

    cached = True

    def __init__(self, tokenizer: Any, length: int, stride: int, packing: Packing = True):
        self.tokenizer, self.length, self.stride, self.packing = tokenizer, length, stride, packing

    def fingerprint(self) -> str:
        t = self.tokenizer
        return f"tokens 6, EOS {t.eos_token_id}, template {t.chat_template}, {t.backend_tokenizer.to_str()}"

    def encode(self, samples: Sequence[Any]) -> list[Item]:
        dialogue = [isinstance(sample, (ChatSample, CompletionSample)) for sample in samples]
        if not any(dialogue):
            return [{"input_ids": ids} for ids in self._documents(samples)]
        if not all(dialogue):
            raise DataError(
                "the data mix plain texts, where every token carries loss, with conversations, where only answers do."
            )
        return [item for sample in samples for item in self._dialogue(sample)]

    def pack(self, items: Sequence[Item]) -> Windows:
        return Windows(items, self.length, self.stride, self.packing)

    def lengths(self, items: Any) -> Any:
        return items.lengths

    def collate(self, items: Sequence[Item]) -> Batch:
        longest = max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), longest), padding(self.tokenizer))  # [B, T]
        targets = torch.full_like(ids, IGNORED)
        positions = torch.arange(longest).repeat(len(items), 1)
        for row, item in enumerate(items):
            n = len(item["input_ids"])
            ids[row, :n] = torch.as_tensor(np.asarray(item["input_ids"], dtype=np.int64))
            targets[row, :n] = torch.as_tensor(item["targets"])
            positions[row, :n] = torch.as_tensor(item["position_ids"])
        # Padding stands to the right of causal attention, which never looks there: no mask, and the fast kernel.
        batch = {"input_ids": ids, "targets": targets, "lengths": [len(item["input_ids"]) for item in items]}
        return batch | ({"position_ids": positions} if any(item["segments"] > 1 for item in items) else {})

    # Texts ------------------------------------------------------------------------------------------------------

    def _documents(self, samples: Sequence[TextSample]) -> list[np.ndarray]:
        """[T] int32 for each, with exactly one EOS, and one BOS where the tokenizer begins a text with it."""
        parts = [list(_parts(sample.text)) for sample in samples]
        firsts = self._tokens([first for first, *_ in parts], add_special_tokens=True)
        later = self._later(parts)
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        found = []
        for sample, (_, *rest), ids in zip(samples, parts, firsts, strict=True):
            pieces = [next(later) for _ in rest]
            document = [self._begun(ids), *(piece for piece in pieces if piece is not None)]
            if len(document) <= len(pieces):
                document = [self._begun(next(self._tokens([sample.text], add_special_tokens=True)))]
            closed = not end or document[-1][-1:].tolist() == end
            found.append(np.concatenate([*document, np.array([] if closed else end, dtype=np.int32)]))
        return found

    def _later(self, parts: list[list[str]]) -> Iterator[np.ndarray | None]:
        """Tokens of every part but the first of each document, in the middle of the text as they are: some tokenizers
        begin every text with a blank. So each part comes with the line before it, whose tokens are then taken off; None
        where they are other ones then, as one crosses the seam."""
        lines = [before[before.rfind("\n", 0, -1) + 1 :] for texts in parts for before in texts[:-1]]
        texts = [text for texts in parts for text in texts[1:]]
        alone = self._tokens(lines, add_special_tokens=False)
        both = self._tokens([line + text for line, text in zip(lines, texts, strict=True)], add_special_tokens=False)
        for line, ids in zip(alone, both, strict=True):
            yield ids[len(line) :] if np.array_equal(ids[: len(line)], line) else None

    def _tokens(self, texts: list[str], add_special_tokens: bool) -> Iterator[np.ndarray]:
        """[T] int32 of each text. So many go through the tokenizer at a time as keep the cores busy: it needs more than
        a hundred bytes for each character. The tokenizer itself, without what transformers makes of its answers."""
        tokenizer = self.tokenizer.backend_tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        for group in _groups(texts):
            for encoding in tokenizer.encode_batch_fast(group, add_special_tokens=add_special_tokens):
                yield np.asarray(encoding.ids, dtype=np.int32)

    def _begun(self, ids: np.ndarray) -> np.ndarray:
        """Without the BOS that the text may have had beside the tokenizer's."""
        begin = self.tokenizer.bos_token_id
        while begin not in (None, self.tokenizer.eos_token_id) and ids[:2].tolist() == [begin, begin]:
            ids = ids[1:]
        return ids

    # Conversations ----------------------------------------------------------------------------------------------

    def _dialogue(self, sample: ChatSample | CompletionSample) -> list[Item]:
        return [self._with_loss_mask(text, spans) for text, spans in conversations.rendered(self.tokenizer, sample)]

    def _with_loss_mask(self, text: str, spans: list[tuple[int, int]]) -> Item:
        """Tokens that begin in a span carry loss; one that straddles its beginning belongs to what came before."""
        ids, offsets = templated_tokens(self.tokenizer, text)
        loss_mask = np.zeros(len(ids), dtype=np.uint8)
        for start, stop in spans:
            loss_mask[(offsets[:, 0] >= start) & (offsets[:, 0] < stop) & (offsets[:, 1] > offsets[:, 0])] = 1
        if spans and spans[-1][1] >= len(text.rstrip()) and not self._is_ended(text, ids):
            count = int((offsets[:, 0] < spans[-1][1]).sum())  # what follows blanks without loss never comes
            ids, loss_mask = [*ids[:count], self.tokenizer.eos_token_id], np.append(loss_mask[:count], np.uint8(1))
        return {"input_ids": np.asarray(ids, dtype=np.int32), "loss_mask": loss_mask}

    def _is_ended(self, text: str, ids: list[int]) -> bool:
        """Whether EOS or the template's own marker ends the sample, or there is none that could."""
        if (end := self.tokenizer.eos_token_id) is None:
            return True
        last = next((i for i in reversed(ids) if self.tokenizer.decode([i]).strip()), None)
        return last == end or bool(self._marker and text.rstrip().endswith(self._marker))

    @cached_property
    def _marker(self) -> str:
        """What the chat template ends an answer with, if that is a token of its own and no mere words."""
        if self.tokenizer.chat_template is None:
            return ""
        marker = conversations.end_of_turn(self.tokenizer)
        ids = self.tokenizer(marker, add_special_tokens=False)["input_ids"] if marker else []
        return marker if ids and ids[-1] in self.tokenizer.added_tokens_decoder else ""


class PromptProcessor(Processor):
    """Prompts to token ids, padded on the left so that every one ends where its continuation begins.

    Args:
        chat: whether a plain text is what a user says to a chat model, to be put into its template.
    """

    def __init__(self, tokenizer: Any, chat: bool = False):
        self.tokenizer, self.chat = tokenizer, chat

    def encode(self, samples: Sequence[Any]) -> list[Item]:
        return [self._item(sample) for sample in samples]

    def _item(self, sample: Any) -> Item:
        shown = text = sample.prompt if isinstance(sample, CompletionSample) else getattr(sample, "text", "")
        messages = [{"role": "user", "content": text}]
        if isinstance(sample, ChatSample):
            messages = [*sample.messages[:-1], *(m for m in sample.messages[-1:] if m["role"] != "assistant")]
            shown = messages[-1]["content"] if messages else ""
        templated = isinstance(sample, ChatSample) or (self.chat and self.tokenizer.chat_template is not None)
        if templated:
            text = conversations.prompt(self.tokenizer, messages)
        ids = (
            templated_tokens(self.tokenizer, text)[0] if templated else self.tokenizer(text, verbose=False)["input_ids"]
        )
        end = self.tokenizer.eos_token_id
        return {"prompt": shown, "input_ids": ids or [self.tokenizer.bos_token_id or end]}

    def collate(self, items: Sequence[Item]) -> Batch:
        longest = max(len(item["input_ids"]) for item in items)
        pad = padding(self.tokenizer)
        gaps = [longest - len(item["input_ids"]) for item in items]
        return {
            "input_ids": torch.tensor([[pad] * g + item["input_ids"] for g, item in zip(gaps, items, strict=True)]),
            "attention_mask": torch.tensor([[0] * g + [1] * (longest - g) for g in gaps]),
            "prompt": [item["prompt"] for item in items],
        }


def templated_tokens(tokenizer: Any, text: str) -> tuple[list[int], np.ndarray]:
    """Token ids and [N, 2] the characters each stands for, of a text that a template has made.

    The template has written its special tokens itself; BOS is added only where this tokenizer begins every text with
    it and the template has not.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoded["input_ids"], np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    begin = tokenizer.bos_token_id
    if begin is not None and ids[:1] != [begin] and tokenizer("")["input_ids"][:1] == [begin]:
        return [begin, *ids], np.concatenate([np.zeros((1, 2), dtype=np.int64), offsets])
    return ids, offsets


def continuations(tokenizer: Any, prompts: Tensor, new: Tensor) -> list[str]:
    """The texts of new tokens [N, M] after prompts [N, T], with the blank that they begin with.

    Decoded alone, their first word would begin a text, where some tokenizers leave a blank out.
    """
    before = tokenizer.batch_decode(prompts[:, -_CONTEXT:], skip_special_tokens=True)
    whole = tokenizer.batch_decode(torch.cat([prompts[:, -_CONTEXT:], new], 1), skip_special_tokens=True)
    alone = tokenizer.batch_decode(new, skip_special_tokens=True)
    return [w[len(b) :] if w.startswith(b) else a for b, w, a in zip(before, whole, alone, strict=True)]


def whole_words(tokenizer: Any, ids: Sequence[int], count: int) -> list[int]:
    """Up to `count` of the first tokens: from where a word begins to where one ends.

    Where there is no blank (in Chinese, say), they are the first tokens as they are.
    """
    texts = [tokenizer.decode(ids[:end]) for end in range(min(len(ids), 3 * count) + 1)]
    pieces = [text[len(before) :] for before, text in pairwise(texts)]
    begins = [
        i
        for i, (before, piece) in enumerate(pairwise(pieces), 1)
        if piece.strip() and (before[-1:].isspace() or piece[0].isspace())
    ]
    first = begins[0] if begins else 0
    end = max((i for i in begins[1:] if i - first <= count), default=min(first + count, len(ids)))
    while end > first + 1 and end <= len(pieces) and not pieces[end - 1].strip():
        end -= 1  # no blank at the end
    return list(ids[first:end])


def padding(tokenizer: Any) -> int:
    """What stands where nothing is; masked by length, so that any id will do."""
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


def _parts(text: str) -> Iterator[str]:
    """The text in parts of about as many characters, parted between two lines where tokens hardly ever cross."""
    start = 0
    while len(text) - start > _PART:
        seam = _SEAM.search(text, start + _PART)
        if seam is None:
            break
        yield text[start : seam.start()]
        start = seam.start()
    yield text[start:]


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """The texts in their order, some thirty parts' worth of characters at a time."""
    group: list[str] = []
    room = 32 * _PART
    for text in texts:
        group.append(text)
        room -= len(text)
        if room <= 0:
            yield group
            group, room = [], 32 * _PART
    if group:
        yield group
