import itertools

import numpy as np
import pytest

from zoo.callbacks.trigram import Trigram, TrigramBaseline

TEXT = np.random.default_rng(0).choice(5, size=4000, p=[0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.fixture(scope="module")
def model() -> Trigram:
    return Trigram(TEXT, vocabulary=7)


def test_the_probabilities_of_all_tokens_sum_to_one_after_a_context_that_was_seen(model: Trigram):
    total = sum(model.probabilities(np.array([0, 1, token]))[2] for token in range(7))
    assert total == pytest.approx(1, abs=2e-3)  # the training text's last tokens have no successor


def test_the_weights_are_a_distribution(model: Trigram):
    assert model.weights.sum() == pytest.approx(1)
    assert (model.weights > 0).all()


def test_a_probability_is_the_weighted_sum_of_counted_frequencies(model: Trigram):
    tokens = TEXT.tolist()
    pairs, triples = (
        list(itertools.pairwise(tokens)),
        list(zip(tokens, tokens[1:], tokens[2:], strict=False)),
    )
    expected = model.weights @ [
        1 / 7,
        tokens.count(2) / len(tokens),
        pairs.count((1, 2)) / tokens.count(1),
        triples.count((0, 1, 2)) / pairs.count((0, 1)),
    ]
    assert model.probabilities(np.array([0, 1, 2]))[2] == pytest.approx(expected)


def test_order_in_the_text_is_rewarded():
    periodic = Trigram(np.tile([0, 1, 2, 3], 500), vocabulary=4)
    assert periodic.probabilities(np.array([0, 1, 2]))[2] > 0.95


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            {"val/perplexity": 15.2},
            "The run beat its baseline: a validation perplexity of 15.2, and 18.07 of the trigram.",
        ),
        ({"val/perplexity": 19.0}, "The run did not beat its baseline: a validation perplexity of 19, and 18.07"),
        ({}, ""),
    ],
)
def test_whether_the_baseline_was_beaten_is_said_in_words(metrics: dict[str, float], said: str):
    baseline = TrigramBaseline()
    baseline.metrics = {"val/trigram_perplexity": 18.07}
    found = baseline.conclusion(metrics)
    assert found.startswith(said)
    assert bool(found) == bool(said)
