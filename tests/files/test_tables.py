"""Every kind of file, every way to spoil one: what is read, and what is said. Real files, read as a user's would be."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import zoo
from zoo.errors import DataError, MissingInputError, UserError
from zoo.samples import ChatSample, CompletionSample, TextSample

ROWS = [{"text": "One, two", "n": 1}, {"text": "Zwei\nZeilen für „uns“", "n": 2}, {"text": "007", "n": 3}]
TEXTS = [row["text"] for row in ROWS]


def jsonl(rows: list[Any]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def csv(separator: str) -> bytes:
    lines = [f"text{separator}n", *(f'"{row["text"]}"{separator}{row["n"]}' for row in ROWS)]
    return "\n".join(lines).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def zst(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True) if len(content) else b""


def put(name: str, content: bytes | str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read(source: str, **settings: Any) -> list[Any]:
    """All samples of a source, by way of a validation set of its own."""
    return list(zoo.TextData(train=source, validation=source, **settings).samples("train"))


def texts(source: str, **settings: Any) -> list[str]:
    return [sample.text for sample in read(source, **settings)]


def complaint(source: str, kind: type[UserError] = DataError, **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        read(source, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def said(split: str = "train", **settings: Any) -> str:
    data = zoo.TextData(**settings)
    data.samples(split)
    return data.describe(split)


# Kinds ----------------------------------------------------------------------------------------------------------

KINDS = {
    "a.jsonl": jsonl(ROWS),
    "a.json": json.dumps(ROWS, indent=1, ensure_ascii=False).encode(),
    "wrapped.json": json.dumps({"data": ROWS}).encode(),
    "lines.json": jsonl(ROWS),
    "strings.json": json.dumps(TEXTS).encode(),
    "a.csv": csv(","),
    "a.tsv": csv("\t"),
    "A.CSV": csv(","),
    "a.parquet": parquet(ROWS),
    "a.jsonl.gz": gzip.compress(jsonl(ROWS)),
    "a.csv.gz": gzip.compress(csv(",")),
    "a.jsonl.zst": zst(jsonl(ROWS)),
    "windows.jsonl": jsonl(ROWS).replace(b"\n", b"\r\n"),
    "blank.jsonl": b"\n" + jsonl(ROWS).replace(b"\n", b"\n \n") + b"\n\n",
}


@pytest.mark.parametrize("name", KINDS)
def test_the_same_rows_come_from(name: str, here: Path):
    put(name, KINDS[name])
    assert texts(name) == TEXTS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "windows-1252"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.csv.gz", "a.jsonl.zst"])
def test_the_same_rows_come_in_other_encodings(name: str, encoding: str, here: Path):
    content = KINDS[name.removesuffix(".gz").removesuffix(".zst")].decode().encode(encoding)
    put(name, gzip.compress(content) if name.endswith(".gz") else zst(content) if name.endswith(".zst") else content)
    assert texts(name) == TEXTS
    assert ("is windows-1252, read as such" in said(train=name, validation=name)) == (encoding == "windows-1252")


def test_compressed_text_is_text(here: Path):
    put("a.txt.gz", gzip.compress(b"One.\nTwo."))
    put("b.txt.zst", zst(b"One.\nTwo."))
    assert texts("a.txt.gz") == texts("b.txt.zst") == ["One.\nTwo."]
    assert texts("a.txt.gz", documents="lines") == ["One.", "Two."]


def test_line_ends_of_all_systems_are_one(here: Path):
    put("a.txt", b"One.\r\nTwo.\rThree.\n")
    assert texts("a.txt", documents="lines") == ["One.", "Two.", "Three."]
    assert texts("a.txt") == ["One.\nTwo.\nThree.\n"]


def test_words_for_nothing_in_a_cell_are_text(here: Path):
    words = ["NA", "null", "None", "nan", "N/A", "1e5", "true"]
    put("a.csv", "text\n" + "\n".join(words))
    put("a.jsonl", jsonl([{"text": word} for word in words]))
    assert texts("a.csv") == texts("a.jsonl") == words


def test_a_cell_may_be_longer_than_pythons_csv_reader_allows_by_default(here: Path):
    put("a.csv", 'text,n\n"' + "x" * 200_000 + '",1\nshort,2')
    assert [len(one) for one in texts("a.csv")] == [200_000, 5]


def test_rows_may_have_other_keys_beside_the_text(here: Path):
    put("a.jsonl", jsonl([{"text": "One", "n": 1}, {"n": "two", "text": "Two"}, {"text": "1", "more": [{}]}]))
    assert texts("a.jsonl") == ["One", "Two", "1"]


def test_another_separator_is_a_setting(here: Path):
    put("a.csv", csv(";"))
    put("b.csv", csv("\t"))
    assert texts("a.csv", separator=";") == texts("b.csv", separator="\\t") == TEXTS


def test_a_document_is_the_whole_table_of_each_file(here: Path):
    put("d/a.jsonl", jsonl([{"text": "1"}, {"text": ""}, {"text": "2"}]))
    put("d/b.jsonl", jsonl([{"text": "3"}]))
    assert texts("d", documents="file", join="|") == ["1||2", "3"]


# Many files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("books", ["a", "b", "c"]),
        ("books/", ["a", "b", "c"]),
        ("books/*.txt", ["a", "c"]),
        ("books/**/*.txt", ["a", "b", "c"]),
        ("b*/?.txt", ["a", "c"]),
        ("books/[a-b].txt", ["a"]),
    ],
)
def test_folders_and_globs_are_read_in_sorted_order(source: str, expected: list[str], here: Path):
    for name, text in {"c.txt": "c", "a.txt": "a", "b/1.txt": "b", "b/.hidden.txt": "no", "README.md": "no"}.items():
        put(f"books/{name}", text)
    assert texts(source) == expected
    assert (f"{len(expected)} files" in said(train=source, validation=source)) == (len(expected) > 1)


def test_a_folder_with_splits_keeps_them(here: Path):
    for split in ("train", "valid", "test"):
        put(f"a/{split}-00000.jsonl", jsonl([{"text": split}]))
        put(f"b/{split}/x.jsonl", jsonl([{"text": split}]))
    for source in ("a", "b"):
        data = zoo.TextData(train=source)
        found = {split: [s.text for s in data.samples(split)] for split in ("train", "validation", "test")}
        assert found == {"train": ["train"], "validation": ["valid"], "test": ["test"]}


def test_compressed_and_plain_files_of_one_kind_go_together(here: Path):
    put("d/a.jsonl", jsonl([{"text": "1"}]))
    put("d/b.jsonl.gz", gzip.compress(jsonl([{"text": "2"}])))
    assert texts("d") == ["1", "2"]


def test_the_line_says_how_much_was_read(here: Path):
    put("d/a.jsonl", jsonl([{"text": "abc"}, {"text": " "}, {"text": None}]))
    put("d/b.jsonl", jsonl([{"text": "de"}]))
    assert said(train="d", validation="d") == "d: 2 documents, 5 characters, 2 files, 2 empty rows left out"


def test_empty_rows_are_counted_for_each_split(here: Path):
    put("a.jsonl", jsonl([{"text": "abc"}, {"text": " "}]))
    put("b.jsonl", jsonl([{"text": ""}, {"text": ""}, {"text": "x"}]))
    assert "1 empty rows left out" in said(train="a.jsonl", validation="b.jsonl")
    assert "2 empty rows left out" in said("validation", train="a.jsonl", validation="b.jsonl")


def test_a_limit_takes_the_first_documents_of_the_training_data(here: Path):
    put("a.jsonl", jsonl([{"text": ""}, *({"text": str(i)} for i in range(50))]))
    data = zoo.TextData(train="a.jsonl", validation="a.jsonl", limit=3)
    assert [sample.text for sample in data.samples("train")] == ["0", "1", "2"]
    assert len(data.samples("validation")) == 50
    divided = zoo.TextData(train="a.jsonl", limit=30)
    assert len(divided.samples("train")) + len(divided.samples("validation")) == 30


# Mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = {
    "a.csv": ("text;n\nOne;1\n", "a.csv has one column 'text;n'; it looks ';'-separated. Set data.separator: ';'."),
    "quoted.csv": ('text;n\n"One";1\n', "quoted.csv has one column 'text;n'; it looks ';'-separated."),
    "b.csv": ("text\tlabel\nOne\t1\n", r"""it looks "\t"-separated. Set data.separator: "\t"."""),
    "c.csv": ("body,label\nOne,1\n", "no column 'text' (columns: body, label)"),
    "d.csv": ("text,n\nOne,1\n\nTwo, three,2\n", "d.csv line 4 has 3 fields, the header 2."),
    "e.csv": ('text,n\n"One\nmore",1\n"Two,2\n', "e.csv line 4: a quote opens there and never closes"),
    "f.csv": ('text,n\nOne,1\n"Two" x,2\n', "f.csv line 3: ',' expected after '\"'"),
    "g.csv": ("n,text\n1,One\n2\n3\n", "g.csv line 3 lacks 'text' (has 'n'); 2 of 3 rows."),
    "h.csv": ("", "h.csv has no text in it"),
    "i.csv": ("text,n\n", "i.csv has no text in it"),
    "a.jsonl": (jsonl([{"text": "One"}, {"txet": "Two"}]), "a.jsonl line 2 lacks 'text' (has 'txet'); 1 of 2 rows."),
    "b.jsonl": ('{"text": "a"}\n\n{"text": "b"\n{"text": "c"}', "b.jsonl line 3 is no JSON: Expecting ',' delimiter"),
    "c.jsonl": ('{"text": "a"}\n[1]', 'c.jsonl line 2 is [1]; expected an object, as {"text": "…"}'),
    "d.jsonl": (jsonl([{"text": "a"}, {"text": 3}]), "d.jsonl line 2 has 3 for 'text', which is no text; 1 of 2 rows."),
    "e.jsonl": ('{"text": "a\\ud800"}', "e.jsonl line 1 has half a character (\\ud800) in its text"),
    "f.jsonl": ("", "f.jsonl has no text in it"),
    "g.jsonl": (jsonl([{"body": "a"}]), "no column 'text' (columns: body), nor those of prompts or conversations."),
    "a.json": ('[{"text": "a"},\n {"text": "b"\n]', "a.json line 3 is no JSON"),
    "b.json": ("3", "b.json holds 3; expected a list of rows"),
    "c.json": ('[{"text": "a"}, 3]', "c.json row 2 is 3"),
    "a.parquet": ("no such thing", "a.parquet is no parquet file, or is damaged"),
    "a.txt.gz": (gzip.compress(b"text" * 999)[:-9], "a.txt.gz is damaged or cut off"),
    "b.txt.gz": ("no gzip", "b.txt.gz is damaged or cut off (is it packed as its name says?)"),
    "a.jsonl.zst": ("no zstd", "a.jsonl.zst is damaged or cut off"),
    "a.txt": (" \n\n", "a.txt has no text in it"),
    "a.pdf": ("x", "a.pdf is not one of .txt"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_place(name: str, here: Path):
    content, says = MISTAKES[name]
    put(name, content)
    assert says in complaint(name)


def test_a_wrong_column_names_what_there_is(here: Path):
    put("a.parquet", parquet(ROWS))
    assert complaint("a.parquet", text_column="body") == (
        "a.parquet has no column 'body' (columns: text, n). Set data.text_column to one of them."
    )


def test_a_column_whose_name_has_several_lines_is_named_in_one(here: Path):
    put("a.parquet", parquet([{"te\nxt": "One", "n": 1}]))
    assert "(columns: te\\nxt, n)" in complaint("a.parquet")


def test_a_problem_of_many_rows_is_named_once_and_counted(here: Path):
    put("d/a.jsonl", jsonl([{"text": "a"}]))
    put("d/b.jsonl", jsonl([{"text": "a"}, {}, {}]))
    assert complaint("d") == "d/b.jsonl line 2 lacks 'text' (has nothing); 2 of 4 rows."


def test_files_of_several_kinds_are_not_mixed(here: Path):
    put("d/a.txt", "x")
    put("d/b.txt", "x")
    put("d/c.jsonl", jsonl(ROWS))
    says = complaint("d")
    assert "several kinds (2 .txt and 1 .jsonl)" in says
    assert "d/**/*.txt" in says
    assert "several kinds" in complaint("d/*")


@pytest.mark.parametrize(
    ("source", "says"),
    [("x/*.txt", "data.train: x/*.txt matches no file"), ("./d", "no such file"), ("x.jsonl.gz", "no such file")],
)
def test_what_is_not_there_is_named(source: str, says: str, here: Path):
    assert says in complaint(source, MissingInputError)


def test_a_folder_without_text_says_so(here: Path):
    put("d/a.pdf", "x")
    assert "d has no files to read in it (.txt, .csv" in complaint("d")


def test_nothing_stays_in_the_cache_of_a_file_with_mistakes(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_CACHE", str(here / "cache"))
    put("a.jsonl", jsonl([{"text": "x"}, {}]))
    complaint("a.jsonl")
    assert [path for path in Path("cache").rglob("*") if path.is_file()] == []


# The cache ------------------------------------------------------------------------------------------------------

EDITS = {
    "a.txt": (b"One.", b"Two."),
    "a.csv": (b"text\nOne.\n", b"text\nTwo.\n"),
    "a.jsonl": (jsonl([{"text": "One."}]), jsonl([{"text": "Two."}])),
    "a.parquet": (parquet([{"text": "One."}]), parquet([{"text": "Two."}])),
    "a.txt.zst": (zst(b"One."), zst(b"Two.")),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_leaves_name_size_and_time_is_seen(name: str, here: Path):
    before, after = EDITS[name]
    put(name, before)
    time = os.stat(name).st_mtime_ns
    first = texts(name)
    assert len(before) == len(after)
    put(name, after)
    os.utime(name, ns=(time, time))
    assert (first, texts(name)) == (["One."], ["Two."])


def test_a_second_start_reads_no_row(here: Path, monkeypatch: pytest.MonkeyPatch):
    from zoo.files import tables

    put("a.csv", csv(","))
    first = texts("a.csv")
    monkeypatch.setitem(tables._READERS, ".csv", None)
    monkeypatch.setattr(tables, "columns", lambda *_: {"text": None, "n": None})
    assert texts("a.csv") == first
    os.rename("a.csv", "b.csv")
    assert texts("b.csv") == first


def test_another_way_to_read_is_read_anew(here: Path):
    put("a.txt", "One.\n\nTwo.\nThree.")
    assert [len(texts("a.txt", documents=documents)) for documents in ("file", "lines", "blank")] == [1, 3, 2]
    put("a.jsonl", jsonl([{"text": "a", "body": "b"}]))
    assert [texts("a.jsonl", text_column=column) for column in ("text", "body")] == [["a"], ["b"]]


# What rows are --------------------------------------------------------------------------------------------------

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
SHAREGPT = [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]
FORMS = {
    "messages": ({"messages": TALK, "text": "no"}, ChatSample(TALK)),
    "conversations": (
        {"conversations": SHAREGPT},
        ChatSample([{"role": "system", "content": "Be kind."}, *TALK[:1], {"role": "assistant", "content": "Yes"}]),
    ),
    "dialogue": ({"dialogue": ["Hi", "Hello"]}, ChatSample(TALK)),
    "dialog with roles": ({"dialog": TALK}, ChatSample(TALK)),
    "prompt": ({"prompt": "2 + 2 =", "completion": " 4"}, CompletionSample("2 + 2 =", " 4")),
    "alpaca": (
        {"instruction": "Add.", "input": "2, 2", "output": "4"},
        CompletionSample("Add.\n\n2, 2\n\n", "4"),
    ),
    "alpaca without input": (
        {"instruction": "Add 2 and 2.", "input": "", "output": "4"},
        CompletionSample("Add 2 and 2.\n\n", "4"),
    ),
    "text": ({"text": "One", "prompt": "no"}, TextSample("One")),
}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_columns_say_what_a_row_is(form: str, suffix: str, here: Path):
    row, sample = FORMS[form]
    put(f"a.{suffix}", jsonl([row]) if suffix == "jsonl" else parquet([row]))
    assert read(f"a.{suffix}") == [sample]


def test_what_rows_are_is_said(here: Path):
    put("a.jsonl", jsonl([{"messages": TALK}]))
    put("b.jsonl", jsonl([{"instruction": "a", "output": "b"}]))
    assert "1 conversations (messages)" in said(train="a.jsonl", validation="a.jsonl")
    assert "1 prompts with completions (instruction, output)" in said(train="b.jsonl", validation="b.jsonl")


def test_a_column_that_is_set_wins(here: Path):
    put("a.jsonl", jsonl([{"messages": TALK, "text": "One"}]))
    assert read("a.jsonl", text_column="text") == [TextSample("One")]


def test_conversations_in_a_cell_are_read(here: Path):
    put("a.csv", 'messages\n"[{""role"": ""user"", ""content"": ""Hi""}]"\n')
    assert read("a.csv") == [ChatSample(TALK[:1])]


def test_what_else_a_message_has_goes_along(here: Path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "add", "arguments": {"a": 1}}]}
    put("a.jsonl", jsonl([{"messages": [*TALK, call]}, {"messages": [{**TALK[0], "weight": 0}]}]))
    assert read("a.jsonl") == [ChatSample([*TALK, call]), ChatSample([{**TALK[0], "weight": 0}])]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "has [] for 'messages'; expected a list of messages"),
        (None, "has null for 'messages'"),
        ("Hi", "has \"Hi\" for 'messages'"),
        (["Hi"], 'has "Hi" as message 1; expected an object with role and content'),
        ([*TALK, {"content": "x"}], "has no 'role' in message 3"),
        ([{"role": "bot", "content": "x"}], 'has role "bot" in message 1; expected one of system, developer, user'),
        ([{"role": "user"}], "has no 'content' in message 1"),
        ([{"role": "user", "content": None}], "has no 'content' in message 1"),
        ([{"role": "user", "content": [{"type": "text"}]}], "for 'content' in message 1, which is no text"),
    ],
)
def test_a_malformed_conversation_is_named_with_its_line(messages: Any, says: str, here: Path):
    put("a.jsonl", jsonl([{"messages": TALK}, {"messages": messages}, {"messages": TALK}]))
    found = complaint("a.jsonl")
    assert found.startswith("a.jsonl line 2 has ")
    assert says in found
    assert found.endswith("; 1 of 3 rows.")


def test_an_empty_completion_is_an_empty_row(here: Path):
    put("a.jsonl", jsonl([{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": " "}]))
    assert read("a.jsonl") == [CompletionSample("a", "b")]
    assert "1 empty rows left out" in said(train="a.jsonl", validation="a.jsonl")


@pytest.mark.parametrize("count", [2, 7, 50])
def test_conversations_are_divided_by_sample(count: int, here: Path):
    put("a.jsonl", jsonl([{"messages": [{"role": "user", "content": f"Number {i}"}, TALK[1]]} for i in range(count)]))
    data = zoo.TextData(train="a.jsonl")
    train, held = list(data.samples("train")), list(data.samples("validation"))
    assert len(train) + len(held) == count
    assert 1 <= len(held) <= max(1, count // 8)
    assert not [sample for sample in held if sample in train]


def test_a_single_conversation_cannot_be_divided(here: Path):
    put("a.jsonl", jsonl([{"messages": TALK}]))
    with pytest.raises(DataError, match="a single sample, none for validation: set data.validation"):
        zoo.TextData(train="a.jsonl").samples("train")


@pytest.mark.parametrize(
    ("row", "sample"),
    [
        ({"text": "Once"}, TextSample("Once")),
        ({"prompt": "Once"}, CompletionSample("Once", "")),
        ({"prompt": "Once", "completion": "upon"}, CompletionSample("Once", "")),
        ({"instruction": "Tell."}, CompletionSample("Tell.\n\n", "")),
        ({"messages": TALK[:1]}, ChatSample(TALK[:1])),
    ],
)
def test_prompts_may_be_of_every_form(row: dict[str, Any], sample: Any, here: Path):
    put("p.jsonl", jsonl([row, row]))
    assert list(zoo.TextData(predict="p.jsonl", limit=1).samples("predict")) == [sample, sample]


# What would end a reader ----------------------------------------------------------------------------------------

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", DEEP, "a.jsonl line 1 is no JSON: brackets in brackets, too deep to be read"),
        ("b.jsonl", '{"text": "a"}\n{"text": ' + DEEP, "b.jsonl line 2 is no JSON: brackets in brackets"),
        ("a.json", DEEP, "a.json line 1 is no JSON: brackets in brackets"),
        ("a.csv", f'messages\n"{DEEP}"\n', "for 'messages'; expected a list of messages"),
    ],
)
def test_brackets_without_end_are_named(name: str, content: str, says: str, here: Path):
    put(name, content)
    assert says in complaint(name)


def test_a_parquet_with_other_bytes_than_utf_8_is_named_with_its_row(here: Path):
    table = pa.table({"text": pa.array([b"One", b"Zw\xff", b"Three"], pa.binary())})
    wrong = pa.Table.from_arrays([table["text"].combine_chunks().view(pa.string())], names=["text"])
    sink = pa.BufferOutputStream()
    pq.write_table(wrong, sink)
    put("a.parquet", sink.getvalue().to_pybytes())
    assert complaint("a.parquet").startswith("a.parquet row 2 has a text that is not UTF-8")


def test_a_document_that_is_too_large_for_one_piece_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch):
    from zoo.files import tables

    monkeypatch.setattr(tables, "_WHOLE", 100)
    put("a.txt", "x" * 101)
    put("a.json", json.dumps([{"text": "x" * 101}]))
    put("a.txt.gz", gzip.compress(b"x" * 101))
    assert "too much to be read in one piece. Set data.documents: lines." in complaint("a.txt")
    assert "Set data.documents: lines." in complaint("a.txt.gz")
    assert "Make it a .jsonl" in complaint("a.json")
    assert texts("a.txt", documents="lines") == ["x" * 101]


def test_classes_of_a_parquet_have_their_names(here: Path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "kind": datasets.ClassLabel(names=["bad", "good"])})
    datasets.Dataset.from_dict({"text": ["One", "Two"], "kind": [1, -1]}, features=features).to_parquet("a.parquet")
    assert read("a.parquet", label_column="kind") == [TextSample("One", "good"), TextSample("Two", None)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.zst", "a.csv.gz"])
def test_a_files_name_may_have_bytes_that_are_no_text(name: str, here: Path):
    odd = os.fsdecode(b"\xff" + name.encode())
    put(odd, KINDS[name])
    assert texts(odd) == TEXTS
    assert said(train=odd, validation=odd).encode().startswith(rb"\udcff" + name.encode())


@pytest.mark.parametrize("how", ["emptied", "cut", "flipped"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_damaged_texts_in_the_cache_are_read_anew(name: str, how: str, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_CACHE", str(here / "cache"))
    put(name, KINDS[name])
    first = texts(name)
    (path,) = Path("cache").rglob("*.arrow")
    content = path.read_bytes()
    middle = content.index(b"Zeilen")
    flipped = content[:middle] + bytes(byte ^ 1 for byte in content[middle : middle + 5]) + content[middle + 5 :]
    path.write_bytes({"emptied": b"", "cut": content[:middle], "flipped": flipped}[how])
    assert texts(name) == first
    assert path.read_bytes() == content
