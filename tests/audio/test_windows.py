"""Recordings in windows, words in lines, and words from frames."""

import numpy as np
import pytest
import torch

from zoo.audio import alphabet as alphabets
from zoo.audio import ctc_times, windows
from zoo.audio.windows import Word


@pytest.mark.parametrize("samples", [1, 999, 1000, 1001, 1234, 5000, 123_457])
def test_what_counts_of_the_windows_covers_a_recording_once(samples: int):
    found = windows.overlapping(samples, most=1000, step=40)
    assert [w.keep_from for w in found] == [0, *(w.keep_to for w in found[:-1])]
    assert found[-1].keep_to == samples
    assert all(w.start <= w.keep_from < w.keep_to <= w.end <= w.start + 1000 for w in found)
    assert all(w.start % 40 == 0 and w.keep_from % 40 == 0 for w in found)
    assert all(w.keep_from - w.start >= 160 for w in found[1:])
    assert all(w.end - w.keep_to >= 160 for w in found[:-1])


def test_a_long_recording_is_cut_where_it_is_quiet():
    rate = 16_000
    wave = np.random.default_rng(0).standard_normal(65 * rate).astype(np.float32)
    wave[int(27.3 * rate) : int(27.8 * rate)] = 0
    wave[int(52.0 * rate) : int(52.5 * rate)] *= 0.01
    found = windows.at_pauses(wave, rate, 30.0)
    assert len(found) == 3
    assert 27.3 < found[0][1] / rate < 27.8
    assert 52.0 < found[1][1] / rate < 52.5
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]


def test_a_recording_without_a_pause_is_cut_all_the_same():
    found = windows.at_pauses(np.ones(100_000, np.float32), 1000, 30.0)
    assert all(0 < end - start <= 30_000 for start, end in found)
    assert found[-1][1] == 100_000


def test_a_pause_ends_a_line_and_so_does_its_length():
    words = [Word("a", 0, 1), Word("b", 1.2, 2), Word("c", 3, 4), *(Word("d", 4.0 + i, 5.0 + i) for i in range(9))]
    assert ["".join(w.text for w in line) for line in windows.lines(words)] == ["ab", "cddddddd", "dd"]
    assert [*windows.lines([])] == []


def test_words_have_the_times_of_their_frames():
    alphabet = alphabets.of_texts(["on of"])
    frames = "..oo.n.|..oof......" + 80 * "." + "n"
    path = [0 if s == "." else alphabet.symbols.index(s) for s in frames]
    log_probabilities = torch.full((len(path), len(alphabet.symbols)), -9.0)
    log_probabilities[torch.arange(len(path)), torch.tensor(path)] = -0.01
    found = ctc_times.words(log_probabilities, alphabet, 0.04)
    assert [w.text for w in found] == ["on", "of", "n"]
    expected = [(2, 6), (10, 13), (99, 100)]
    for word, (first, last) in zip(found, expected, strict=True):
        assert (word.start, word.end) == pytest.approx((0.04 * first, 0.04 * last))
    assert ctc_times.words(torch.eye(len(alphabet.symbols))[[0, 0]], alphabet, 0.04) == []
