"""Error rates against jiwer's, and the worst utterances."""

import random
from pathlib import Path

import jiwer
import pytest
import torch

from zoo.audio import measures, report
from zoo.audio.measures import Heard
from zoo.audio.normalise import without_punctuation

PAIRS = [
    ("the quick brown fox", "the quick brown fox"),
    ("the quick brown fox", "a quick fox"),
    ("Hello, World!", "hello world"),
    ("one two three", ""),
    ("हिन्दी कि की", "हिन्दी की की जो"),
    ("x", "y y y y"),
]


def heard(pairs: list[tuple[str, str]]) -> list[Heard]:
    return [Heard(i, f"clip {i}", said, got, 1.5) for i, (said, got) in enumerate(pairs)]


def random_pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(0)
    words = ["a", "bb", "ccc", "dd", "e"]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(2 * count)]
    return [*zip(texts[:count], texts[count:], strict=True)]


@pytest.mark.parametrize("pairs", [PAIRS, random_pairs(50)])
def test_rates_are_jiwers(pairs: list[tuple[str, str]]):
    rates = measures.error_rates(measures.counts(heard(pairs), without_punctuation))
    said, got = map(list, zip(*pairs, strict=True))
    clean_said, clean_got = ([without_punctuation(t) for t in texts] for texts in (said, got))
    words = jiwer.process_words(clean_said, clean_got)
    total = words.hits + words.substitutions + words.deletions
    assert rates == pytest.approx(
        {
            "wer": jiwer.wer(said, got),
            "cer": jiwer.cer(said, got),
            "wer_normalised": words.wer,
            "cer_normalised": jiwer.cer(clean_said, clean_got),
            "substitutions": words.substitutions / total,
            "deletions": words.deletions / total,
            "insertions": words.insertions / total,
        }
    )


def test_counts_of_parts_add_up_to_those_of_the_whole():
    whole = heard(random_pairs(30))
    parts = [measures.counts(whole[a:b], without_punctuation) for a, b in ((0, 1), (1, 17), (17, 30))]
    assert torch.equal(sum(parts[1:], parts[0]), measures.counts(whole, without_punctuation))


def test_something_heard_in_silence_is_all_wrong():
    rates = measures.error_rates(measures.counts(heard([("", "thank you")]), without_punctuation))
    assert rates["wer"] == rates["insertions"] == 1.0
    assert measures.error_rates(measures.counts(heard([("", "")]), without_punctuation))["wer"] == 0.0


def test_the_worst_utterances_are_the_same_however_they_came():
    whole = heard(random_pairs(60))
    at_once, one_by_one = (measures.Worst(without_punctuation) for _ in range(2))
    at_once.add(whole)
    for one in reversed(whole):
        one_by_one.add([one])
    one_by_one.add(whole[:5])  # a batch that ran out of memory comes again
    assert at_once.ranked() == one_by_one.ranked()
    assert len(at_once.ranked()) == 20
    wrong = [count for count, _ in at_once.ranked()]
    assert wrong == sorted(wrong, reverse=True)


def test_the_worst_are_shown_word_below_word(tmp_path: Path):
    worst = measures.Worst(without_punctuation)
    worst.add([Heard(3, "a.wav", "the <b>brown</b> fox कि था", "the brawn fox की था now", 2.0, finished=False)])
    lines = report.worst_text(worst.ranked(), without_punctuation, tmp_path / "worst.txt").read_text().splitlines()
    assert lines == [
        "a.wav: 3 wrong words, 2.0 s, never stopped",
        "said  the BROWN fox कि था ***",
        "heard the BRAWN fox की था NOW",
    ]


def test_the_page_escapes_what_was_said(tmp_path: Path):
    worst = measures.Worst(str)
    worst.add([Heard(0, "<a>.wav", "<script>", "x & y")])
    page = report.worst_page(worst.ranked(), str, tmp_path / "worst.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "x" in page
    assert "&amp;" in page
