"""A yardstick for language models from scratch: what counting triples of tokens achieves."""

import math
from typing import Any

import numpy as np
from lightning.pytorch import Callback

from zoo.recorded import Recorded


class TrigramBaseline(Recorded, Callback):
    """Before training, print the validation perplexity of an interpolated trigram model on the same tokens."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        train, validation = (trainer.datamodule.items[split] for split in ("train", "validation"))
        vocabulary = len(pl_module.tokenizer)
        held_out = validation.tokens(0, validation.total)
        scored = validation.scored()  # what the network is measured on
        scored[:2] = False  # a trigram needs two tokens before; at most one more token left out
        model = Trigram(train.tokens(0, train.total), vocabulary)
        perplexity = math.exp(-np.log(model.probabilities(held_out)[scored]).mean())
        self.metrics = {"val/trigram_perplexity": perplexity}
        print(f"baseline: an interpolated trigram has a validation perplexity of {perplexity:.2f} on these tokens")

    def conclusion(self, metrics: dict[str, float]) -> str:
        """Whether the run beat the trigram."""
        ours, theirs = metrics.get("val/perplexity"), self.metrics.get("val/trigram_perplexity")
        if ours is None or theirs is None:
            return ""
        if ours < theirs:
            return f"The run beat its baseline: a validation perplexity of {ours:.4g}, and {theirs:.4g} of the trigram."
        return (
            f"The run did not beat its baseline: a validation perplexity of {ours:.4g}, and {theirs:.4g} of a trigram, "
            f"which only counts. It needs more steps, more data, or another learning rate."
        )


class Trigram:
    """p(c | a, b) = w0 / V + w1 p(c) + w2 p(c | b) + w3 p(c | a, b), counted; w by EM on a tenth held out of training.

    Source: Jelinek and Mercer 1980.

    Args:
        tokens: [N] int, the training stream.
        vocabulary: V.
    """

    def __init__(self, tokens: np.ndarray, vocabulary: int, rounds: int = 30):
        self.vocabulary = vocabulary
        cut = int(0.9 * len(tokens))
        self._count(tokens[:cut])
        orders = self._orders(tokens[cut:])[:, 2:]
        self.weights = np.full(4, 0.25)
        for _ in range(rounds):
            shares = self.weights[:, None] * orders
            self.weights = (shares / shares.sum(0)).mean(1)
        self._count(tokens)

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """[N]: of each token given the two before it; the first two lack that context."""
        return self.weights @ self._orders(tokens)

    def _count(self, tokens: np.ndarray) -> None:
        self.grams = [np.unique(keys, return_counts=True) for keys in self._keys(tokens)]
        self.total = len(tokens)

    def _keys(self, tokens: np.ndarray) -> list[np.ndarray]:
        """The n-grams that end at each token, as one number each, for n = 1, 2, 3."""
        one = tokens.astype(np.int64)
        two = one[1:] + self.vocabulary * one[:-1]
        three = two[1:] + self.vocabulary**2 * one[:-2]
        return [one, two, three]

    def _orders(self, tokens: np.ndarray) -> np.ndarray:
        """[4, N]: uniform, unigram, bigram, trigram probability of each token."""
        counts = [np.concatenate([np.zeros(n), self._look_up(n, k)]) for n, k in enumerate(self._keys(tokens))]
        before = [np.concatenate([[0], count[:-1]]) for count in counts]
        return np.stack(
            [
                np.full(len(tokens), 1 / self.vocabulary),
                counts[0] / self.total,
                counts[1] / np.maximum(before[0], 1),
                counts[2] / np.maximum(before[1], 1),
            ]
        )

    def _look_up(self, order: int, keys: np.ndarray) -> np.ndarray:
        known, counts = self.grams[order]
        at = np.searchsorted(known, keys).clip(max=len(known) - 1)
        return np.where(known[at] == keys, counts[at], 0)
