"""Data sets of the hub, as a prepared local cache has them, and as they stream over the network."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from hub_cache import put_dataset

import zoo
from zoo.errors import DataError, MissingInputError
from zoo.files import hub
from zoo.samples import ChatSample

NAME = "someone/letters"
ROWS = {"train": ["a", "", "b", " ", "c"], "validation": ["d"], "extra": ["e", "f"]}
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.fixture
def letters() -> str:
    hub.load_dataset.cache_clear()
    put_dataset(NAME, "plain", ROWS)
    return NAME


def texts(split: Any, **settings: Any) -> list[str]:
    return [sample.text for sample in zoo.TextData(subset="plain", **settings).samples(split)]


def test_a_data_set_gives_its_own_splits(letters: str):
    assert texts("train", train=letters) == ["a", "b", "c"]
    assert texts("validation", train=letters) == ["d"]


def test_empty_rows_are_counted(letters: str):
    data = zoo.TextData(train=letters, subset="plain")
    data.samples("train")
    assert data.describe("train") == f"{letters}: 3 documents, 3 characters, 2 empty rows left out"


def test_a_split_may_be_named(letters: str):
    assert texts("train", train=f"{letters}:extra") == ["e", "f"]
    assert texts("validation", train=f"{letters}:extra") == ["d"]
    assert texts("validation", train=letters, validation=f"{letters}:extra") == ["e", "f"]


def test_a_split_that_is_not_there_is_named(letters: str):
    with pytest.raises(MissingInputError, match=r"no split 'more' \(splits: train, validation, extra\)"):
        texts("train", train=f"{letters}:more")


def test_rows_are_one_document_where_the_config_says_so(letters: str):
    assert texts("train", train=letters, documents="file", join="|") == ["a||b| |c"]


def test_a_wrong_column_names_what_there_is(letters: str):
    with pytest.raises(DataError, match=r"\(train\) has no column 'body' \(columns: text\)"):
        texts("train", train=letters, text_column="body")


class Network:
    """The hub as the client sees it: rows that arrive one by one, counted; or nothing."""

    def __init__(self, splits: dict[str, list[dict[str, Any]]]):
        self.splits, self.sent, self.up = splits, 0, True

    def load(self, name: str, subset: str | None, streaming: bool) -> Any:
        assert streaming
        if not self.up:
            raise ConnectionError("no network")
        return {split: datasets.IterableDataset.from_generator(self._send, gen_kwargs={"rows": rows})
                for split, rows in self.splits.items()}  # fmt: skip

    def _send(self, rows: list[dict[str, Any]]) -> Any:
        for row in rows:
            self.sent += 1
            yield row


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Network:
    rows = [{"text": "" if i == 1 else f"text {i}", "n": i} for i in range(1000)]
    found = Network({"train": rows, "validation": rows[:500]})
    monkeypatch.setattr(datasets, "load_dataset", found.load)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return found


def test_a_limit_reads_only_the_first_documents_and_only_once(network: Network):
    expected = ["text 0", "text 2", "text 3", "text 4"]
    assert texts("train", train="big/set", limit=4) == expected
    assert network.sent < 20
    network.up = False
    assert texts("train", train="big/set", limit=4) == expected
    assert texts("validation", train="big/set", validation="big/set:train", limit=4) == expected


def test_a_limit_cuts_the_other_splits_likewise_and_says_so(network: Network):
    data = zoo.TextData(train="big/set", limit=4)
    assert len(data.samples("validation")) == 4
    assert "4 documents" in data.describe("validation")
    assert "the first 4, kept in the cache" in data.describe("validation")


def test_another_limit_is_another_copy(network: Network):
    assert [len(texts("train", train="big/set", limit=n)) for n in (4, 6)] == [4, 6]


def test_conversations_of_the_hub_are_conversations(network: Network):
    network.splits = {"train": [{"messages": TALK, "prompt": "no"}] * 3}
    data = zoo.TextData(train="big/chats", validation="big/chats", limit=2)
    assert list(data.samples("train")) == [ChatSample(TALK)] * 2


def test_conversations_of_the_cache_are_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(json.dumps({"messages": TALK, "id": i}) for i in range(3)))
    found = datasets.load_dataset("json", data_files=str(path), parse_agent_traces=False)
    monkeypatch.setattr(hub, "load_dataset", lambda *_: found)
    assert list(zoo.TextData(train="our/chats", validation="our/chats").samples("train")) == [ChatSample(TALK)] * 3


def test_a_builder_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def load(*_: Any, **__: Any) -> None:
        raise ValueError("BuilderConfig 'x' not found. Available: ['plain']\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load)
    hub.load_dataset.cache_clear()
    with pytest.raises(DataError, match=r"data set our/chats cannot be read .*Available: \['plain'\].* data.subset"):
        zoo.TextData(train="our/chats", subset="x").samples("train")


def test_classes_of_the_hub_have_their_names_and_media_stay_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from PIL import Image

    features = {"label": datasets.ClassLabel(names=["bad", "good"]), "image": datasets.Image()}
    rows = {"label": [1, -1, None], "image": [Image.new("RGB", (2, 2))] * 3}
    stored = hub.Stored(datasets.Dataset.from_dict(rows, features=datasets.Features(features)))
    assert stored.column("label").to_pylist() == ["good", None, None]
    assert [row["label"] for row in stored.rows(["label"])] == ["good", None, None]
    assert all(row["image"]["bytes"].startswith(b"\x89PNG") for row in stored.rows(["image"]))
