"""Files in the encodings that people have, and in none."""

from encodings.aliases import aliases
from pathlib import Path

import pytest

from zoo.errors import ConfigError, DataError
from zoo.files import encodings

WESTERN = "Grüße aus dem Café – „schön“, señor, naïveté, 20 °C, 5 m²."
TEXTS = {
    "utf-8": WESTERN,
    "utf-8-sig": WESTERN,
    "utf-16": WESTERN,
    "utf-16-le": WESTERN,
    "utf-16-be": WESTERN,
    "utf-32": WESTERN,
    "windows-1252": WESTERN,
    "latin-1": "Århus, Größe, élève où garçon",
    "windows-1250": "Zażółć gęślą jaźń, proszę bardzo, część języka",
    "windows-1251": "Привет, это обычный русский текст.",
    "windows-1253": "Καλημέρα σας, αυτό είναι ένα κείμενο",
    "koi8-r": "Привет, это обычный русский текст.",
    "cp932": "これは日本語の文章です。今日はいい天気ですね。",
    "gb18030": "这是一个中文的句子,今天天气很好。我们去公园吧。",
    "big5": "這是一個中文的句子,今天天氣很好。",
    "cp949": "이것은 한국어 문장입니다. 오늘은 날씨가 좋습니다.",
}
NO_FILES = ("punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "x\0y")
ENGLISH = "The quick brown fox jumps over the lazy dog.\n" * 30


@pytest.mark.parametrize("before", ["", ENGLISH], ids=["alone", "in English"])
@pytest.mark.parametrize("encoding", TEXTS)
def test_a_text_comes_through_in(encoding: str, before: str, tmp_path: Path):
    text = before + TEXTS[encoding] + "\n"
    path = tmp_path / "my.txt"
    path.write_bytes(text.encode(encoding))
    found = encodings.find(path, None)
    assert path.read_bytes().decode(found.name) == text


@pytest.mark.parametrize("before", ["", ENGLISH], ids=["alone", "in English"])
@pytest.mark.parametrize("encoding", TEXTS)
def test_the_beginning_of_a_file_says_the_same_even_if_a_character_is_cut(encoding: str, before: str, tmp_path: Path):
    path = tmp_path / "my.txt"
    path.write_bytes((before + (TEXTS[encoding] + "\n") * 2).encode(encoding))
    assert encodings.of_head(path, path.read_bytes()[:-2]) == encodings.find(path, None).name


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-16-le", "my.txt is UTF-16 without a byte order mark, read as such"),
        ("windows-1252", "my.txt is windows-1252, read as such ('Grüße')"),
        ("koi8-r", "my.txt is koi8-r, read as such ('Привет,')"),
    ],
)
def test_a_guess_is_told_with_a_word_to_judge_it_by(encoding: str, says: str, tmp_path: Path):
    path = tmp_path / "my.txt"
    path.write_bytes(TEXTS[encoding].encode(encoding))
    assert encodings.find(path, None).note == says


def test_what_the_user_says_is_not_guessed(tmp_path: Path):
    path = tmp_path / "my.txt"
    path.write_bytes("Ő".encode("windows-1250"))
    assert encodings.find(path, "windows-1250") == encodings.Encoding("windows-1250")
    path.write_bytes("é".encode("utf-8-sig"))
    assert path.read_bytes().decode(encodings.find(path, "utf8").name) == "é"


@pytest.mark.parametrize(
    ("content", "asked", "error", "says"),
    [
        ("schön, für".encode() + b" \xff", None, DataError, "UTF-8 but for byte 13 (0xff)"),
        (b"\xff " + "schön, für".encode(), None, DataError, "UTF-8 but for byte 0 (0xff)"),
        (bytes(range(128, 256)) * 4, None, DataError, "not UTF-8 (byte 0: 0x80), and no other encoding fits"),
        (b"\xff\xfea", None, DataError, "is not UTF-16: byte 2 (0x61)"),
        ("für".encode(), "ascii", DataError, "is not ascii, as data.encoding says: byte 1 (0xc3)"),
        (b"x", "utf-9", ConfigError, "data.encoding is 'utf-9', which Python does not know"),
        *((b"x", name, ConfigError, f"data.encoding is {name!r}, which Python does not know") for name in NO_FILES),
        (
            "für".encode("utf-16-le"),
            "utf-16",
            DataError,
            "has no byte order mark, so data.encoding utf-16 does not say",
        ),
        ("für".encode("utf-32-be"), "U32", DataError, "set it to utf-32-le or utf-32-be"),
        (b"x", "rot13", ConfigError, "data.encoding is 'rot13', which Python does not know"),
    ],
)
def test_what_cannot_be_decoded_is_named(content: bytes, asked: str | None, error: type, says: str, tmp_path: Path):
    path = tmp_path / "my.txt"
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        encodings.find(path, asked)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "data.encoding" in str(caught.value)


def test_the_place_of_a_bad_byte_is_right_beyond_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encodings, "_BLOCK", 4)
    path = tmp_path / "my.txt"
    path.write_bytes("abcü€𝄞ü".encode() + b"\x80z")
    bad = encodings._scan(path, "utf-8")
    assert isinstance(bad, encodings.Bad)
    assert (bad.at, bad.value) == (14, 0x80)
    path.write_bytes("abcü€𝄞ü".encode()[:-1])
    assert isinstance(encodings._scan(path, "utf-8"), encodings.Bad)


def test_a_file_is_read_through_once_as_long_as_it_does_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "my.txt"
    path.write_text("One")
    seen: list[str] = []
    scan = encodings._scan
    monkeypatch.setattr(encodings, "_scan", lambda path, name: seen.append(name) or scan(path, name))
    assert [encodings.find(path, None).size for _ in range(2)] == [3, 3]
    assert len(seen) == 1
    path.write_bytes("für".encode("latin-1"))
    assert encodings.find(path, None).name == "cp1252"


@pytest.mark.parametrize("name", sorted({*aliases.values()}))
def test_with_every_encoding_of_python_a_file_is_read_or_named(name: str, tmp_path: Path):
    path = tmp_path / "my.txt"
    for content in (b"", b"a", b"plain text\n" * 9, bytes(range(256)), WESTERN.encode(), WESTERN.encode("utf-16")):
        path.write_bytes(content)
        try:
            found = encodings.find(path, name)
        except (ConfigError, DataError):
            continue
        assert isinstance(path.read_text(found.name), str)
