"""When each word is said, from what a CTC network says of each frame.

F frames · V symbols · L labels
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor
from torchaudio.functional import forced_align, merge_tokens

from zoo.audio.alphabet import Alphabet
from zoo.audio.windows import Word

_SILENCE = 50
"""Blank frames that end a part that is aligned by itself: one with all of a long recording would not fit memory."""


def words(log_probabilities: Tensor, alphabet: Alphabet, seconds_per_frame: float) -> list[Word]:
    """The words of the likeliest path, with times by forced alignment.

    Args:
        log_probabilities: [F, V] f32, on the CPU.
    """
    path = log_probabilities.argmax(-1).tolist()
    found = []
    for first, last in _spoken(path, alphabet.blank):
        labels = alphabet.collapse(path[first:last])
        part = log_probabilities[first:last]
        aligned, scores = forced_align(part[None], part.new_tensor([labels]).int(), blank=alphabet.blank)
        spans = merge_tokens(aligned[0], scores[0].exp(), blank=alphabet.blank)
        space, word = alphabet.numbers.get(" "), []
        for span in [*spans, None]:
            if span is not None and span.token != space:
                word.append(span)
            elif word:
                text = alphabet.decode([one.token for one in word])
                begin, end = first + word[0].start, first + word[-1].end
                found += [Word(text, begin * seconds_per_frame, end * seconds_per_frame)] if text else []
                word = []
    return found


def _spoken(path: list[int], blank: int) -> Iterator[tuple[int, int]]:
    """Parts of a path between long silences, first and last frame."""
    at = [i for i, symbol in enumerate(path) if symbol != blank]
    if not at:
        return
    ends = [i for i, after in pairwise(at) if after - i > _SILENCE]
    begins = [after for i, after in pairwise(at) if after - i > _SILENCE]
    yield from ((a, b + 1) for a, b in zip([at[0], *begins], [*ends, at[-1]], strict=True))
