"""The wrong answers that a classifier was surest of."""

import torch

from zoo.classification.mistakes import Mistakes

LOGITS = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 2.0], [5.0, 0.0]])
TARGETS = torch.tensor([1, 1, 0, 1])


def shown(*index: int) -> dict[str, list[str] | list[int]]:
    return {"index": [*index], "text": [f"text {i}" for i in index]}


def test_the_surest_come_first_and_right_answers_never():
    mistakes = Mistakes(["a", "b"])
    mistakes.add(LOGITS[:2], TARGETS[:2], shown(0, 1))
    mistakes.add(LOGITS[2:], TARGETS[2:], shown(2, 3))
    found = [(m["text"], m["predicted"], m["label"]) for m in mistakes.worst]
    assert found == [("text 3", "a", "b"), ("text 0", "a", "b"), ("text 2", "b", "a")]
    assert mistakes.worst[0]["probability"] == float(LOGITS[3].softmax(-1)[0])


def test_a_batch_that_comes_again_in_smaller_parts_counts_once():
    mistakes = Mistakes(["a", "b"])
    mistakes.add(LOGITS, TARGETS, shown(0, 1, 2, 3))
    once = list(mistakes.worst)
    mistakes.add(LOGITS[2:], TARGETS[2:], shown(2, 3))
    assert mistakes.worst == once


def test_no_more_than_twenty_are_kept():
    mistakes = Mistakes(["a", "b"])
    for start in range(0, 90, 30):
        logits = torch.stack([torch.arange(start, start + 30) / 30.0, torch.zeros(30)], 1)
        mistakes.add(logits, torch.ones(30, dtype=torch.int64), shown(*range(start, start + 30)))
    assert [m["index"] for m in mistakes.worst] == [*range(89, 69, -1)]
