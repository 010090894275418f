from typing import Any

import numpy as np
import pytest
from tokens.arrow import documents

from zoo.errors import DataError
from zoo.tokens.windows import IGNORED, Packing, Windows, pack

LENGTH = 16


def stream(*lengths: int, loss_mask: list[list[int]] | None = None) -> Any:
    """Documents of these lengths, of consecutive numbers."""
    starts = np.cumsum([0, *lengths])
    items = [{"input_ids": np.arange(a, a + n, dtype=np.int32)} for a, n in zip(starts, lengths, strict=False)]
    for item, flags in zip(items, loss_mask or [], strict=False):
        item["loss_mask"] = np.array(flags, dtype=np.uint8)
    return documents(items)


def scored(windows: Windows) -> list[int]:
    found: list[int] = []
    for window in windows:
        assert len(window["input_ids"]) <= windows.length
        found += window["targets"][window["targets"] != IGNORED].tolist()
    return sorted(found)


@pytest.mark.parametrize("total", [2, 16, 17, 18, 31, 32, 33, 100])
@pytest.mark.parametrize("stride", [1, 5, 15, 16])
def test_every_token_is_a_target_once_with_the_context_that_the_stride_allows(total: int, stride: int):
    windows = Windows(stream(total), LENGTH, stride)
    never = set(range(0, total, LENGTH)) if stride == LENGTH else {0}
    assert scored(windows) == sorted(set(range(total)) - never)
    assert np.flatnonzero(windows.scored()).tolist() == scored(windows)
    for window in windows:
        first = np.flatnonzero(window["targets"] != IGNORED)[0]
        assert first == 0 if window["input_ids"][0] == 0 else first == max(0, LENGTH - stride - 1)


@pytest.mark.parametrize("packing", [True, False])
def test_every_token_of_many_documents_is_a_target_but_each_ones_first(packing: bool):
    lengths = [3, 7, 1, 40, 16, 2, 9, 5]
    windows = Windows(stream(*lengths), LENGTH, 5, packing)
    firsts = set(np.cumsum([0, *lengths]).tolist())
    assert scored(windows) == sorted(set(range(sum(lengths))) - firsts)


@pytest.mark.parametrize("packing", ["concat", "joined"])
def test_concatenated_documents_are_one_text(packing: Packing):
    windows = Windows(stream(5, 1, 34), LENGTH, LENGTH, packing)
    assert [w["input_ids"].tolist() for w in windows] == [list(range(16)), list(range(16, 32)), list(range(32, 40))]
    assert all(w["segments"] == 1 for w in windows)


def test_a_packed_window_names_its_documents_by_positions_that_begin_anew():
    window = Windows(stream(3, 5, 4), LENGTH, LENGTH)[0]
    assert window["input_ids"].tolist() == list(range(12))
    assert window["position_ids"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert window["targets"].tolist() == [1, 2, IGNORED, 4, 5, 6, 7, IGNORED, 9, 10, 11, IGNORED]
    assert window["segments"] == 3


def test_only_learned_tokens_are_targets_and_documents_without_one_are_counted():
    flags = [[0, 0, 1], [0, 0, 0, 0], [1, 1], [1, 0]]
    windows = Windows(stream(3, 4, 2, 2, loss_mask=flags), LENGTH, LENGTH)
    assert scored(windows) == [2, 8]  # a document's first token has no context and is never a target
    assert windows.unlearned == 2
    assert windows.describe() == "1 sequences of 16 tokens, 31% full, 2 samples without loss left out"


def test_data_without_a_token_to_learn_is_an_error():
    with pytest.raises(DataError, match="no sample has a token that carries loss"):
        Windows(stream(3, 2, loss_mask=[[0, 0, 0], [1, 0]]), LENGTH, LENGTH)


def test_windows_cross_the_chunks_of_the_file_where_documents_are_joined():
    windows = Windows(stream(*[3] * 12), LENGTH, LENGTH, "concat")
    assert len(windows._chunks) == 3
    assert windows[1]["input_ids"].tolist() == list(range(16, 32))


@pytest.mark.parametrize("seed", range(3))
def test_a_packing_fills_nearly_all_and_overfills_nothing(seed: int):
    lengths = np.random.default_rng(seed).integers(2, 129, size=2000)
    rows = pack(lengths, 128)
    assert sorted(i for row in rows for i in row) == list(range(2000))
    assert max(lengths[row].sum() for row in rows) <= 128
    assert lengths.sum() / (128 * len(rows)) > 0.97
    assert rows == pack(lengths, 128)


def test_segments_that_fill_their_window_stay_in_their_order():
    assert pack(np.array([8, 8, 3]), 8) == [[0], [1], [2]]


def test_workers_get_the_windows_without_the_tokens():
    import pickle

    windows = Windows(stream(*[9] * 50), LENGTH, LENGTH)
    again = pickle.loads(pickle.dumps(windows))
    assert "_chunks" not in vars(again)
    assert all((a["input_ids"] == b["input_ids"]).all() for a, b in zip(windows, again, strict=True))
