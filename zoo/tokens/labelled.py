"""Texts and their classes to token ids, for every task that is about whole texts.

B texts of a batch · T tokens of the longest one
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from zoo.errors import DataError
from zoo.samples import Batch, Item, Processor, Split, TextSample


class LabelledTextProcessor(Processor):
    """Texts to token ids of a tokenizer, with its special tokens, cut to a length; class names to numbers.

    Args:
        label_names: in the order of the network's outputs.
        max_length: tokens of a text. Of a longer one the tokenizer leaves out what it truncates: most often the end.
        split: the texts themselves are kept beside their tokens in all but training.
    """

    cached = True

    def __init__(self, tokenizer: Any, label_names: Sequence[str], max_length: int, split: Split):
        self.tokenizer, self.max_length, self.split = tokenizer, max_length, split
        self.numbers = {name: i for i, name in enumerate(label_names)}

    def fingerprint(self) -> str:
        t = self.tokenizer
        how = [self.max_length, t.truncation_side, t.pad_token_id, [*self.numbers], self.split != "train"]
        return f"labelled texts 1, {how}, {t.backend_tokenizer.to_str()}"

    def encode(self, samples: Sequence[TextSample]) -> list[Item]:
        for sample in samples:
            if not isinstance(sample.text, str):
                raise DataError(f"texts are classified, and this is none: {sample.text!r:.60}.")
        texts = [sample.text for sample in samples]
        whole = self._tokens(texts)
        long = [i for i, ids in enumerate(whole) if len(ids) > self.max_length]
        shorter = self._tokens([texts[i] for i in long], truncation=True, max_length=self.max_length) if long else []
        fitting = dict(enumerate(whole)) | dict(zip(long, shorter, strict=True))
        cut = set(long)
        return [self._item(sample, fitting[i], i in cut) for i, sample in enumerate(samples)]

    def _tokens(self, texts: list[str], **how: Any) -> list[list[int]]:
        found = self.tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, verbose=False, **how)
        return list(found["input_ids"])

    def _item(self, sample: TextSample, ids: list[int], is_cut: bool) -> Item:
        ids = ids or [self.tokenizer.pad_token_id]  # an empty text, of a tokenizer that adds nothing to it
        item = {
            "input_ids": np.asarray(ids, dtype=np.int32),
            "label": self.numbers.get(sample.label or "", -1),
            "cut": is_cut,
        }
        return item if self.split == "train" else {**item, "text": sample.text}

    def pack(self, items: Sequence[Item]) -> "LabelledTexts":
        return LabelledTexts(items, self.max_length)

    def lengths(self, items: Any) -> Any:
        return items.lengths

    def collate(self, items: Sequence[Item]) -> Batch:
        lengths = [len(item["input_ids"]) for item in items]
        longest = max(lengths)
        ids = torch.full((len(items), longest), self.tokenizer.pad_token_id)  # [B, T]
        mask = torch.zeros_like(ids)
        for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
            ids[row, :length] = torch.as_tensor(np.asarray(item["input_ids"], dtype=np.int64))
            mask[row, :length] = 1
        batch: Batch = {"input_ids": ids, "attention_mask": mask, "lengths": lengths}
        batch["targets"] = torch.tensor([item["label"] for item in items])  # [B]
        return batch if self.split == "train" else {**batch, "text": [item["text"] for item in items]}


class LabelledTexts(Sequence):
    """Texts of at most T tokens, over a memory-mapped file.

    Args:
        texts: a table with columns `input_ids` and `cut`.
        max_length: T.
    """

    def __init__(self, texts: Any, max_length: int):
        self.texts, self.max_length = texts, max_length

    @property
    def lengths(self) -> np.ndarray:
        """[texts]: tokens of each."""
        chunks = self.texts.column("input_ids").chunks
        return np.concatenate([chunk.value_lengths().to_numpy() for chunk in chunks])

    def describe(self) -> str:
        cut = pc.sum(self.texts.column("cut")).as_py()
        longer = f", of which {cut:,} are longer and were cut" if cut else ""
        return f"{len(self):,} texts of at most {self.max_length} tokens{longer}"

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: Any) -> Any:
        return self.texts[index]
