"""A file with a checksum is whole, or found to be damaged; and an error of writing it is that of the file."""

import errno
import io
from pathlib import Path
from typing import Any

import pytest
import xxhash

from zoo.files import checksums

CONTENT = bytes(range(256)) * 3


def write(path: Path, content: Any = lambda file: file.write(CONTENT)) -> None:
    with open(path, "wb") as file:
        checksums.write(file, content)


def test_the_last_line_is_the_hash_of_all_before(tmp_path: Path):
    write(tmp_path / "x", lambda file: (file.write(CONTENT[:100]), file.write(CONTENT[100:])))
    expected = CONTENT + b"zoo xxh3 " + xxhash.xxh3_128(CONTENT).hexdigest().encode() + b"\n"
    assert (tmp_path / "x").read_bytes() == expected
    assert len(expected) - len(CONTENT) == checksums.BYTES


@pytest.mark.parametrize("block", [1, 7, 1 << 22])
def test_whatever_is_changed_is_found(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checksums, "_BLOCK", block)
    write(path := tmp_path / "x")
    assert checksums.damage(path) is None
    whole = path.read_bytes()
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 5)]
    for content in [*changed, *(whole[:at] for at in range(0, len(whole), 7)), whole + b"x", b""]:
        path.write_bytes(content)
        assert checksums.damage(path) is not None


class Full(io.BytesIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def hides_errors(file: Any) -> None:
    try:
        file.write(b"x")
    except OSError:
        raise RuntimeError("unexpected pos 64 vs 0") from None  # as torch.save says


@pytest.mark.parametrize("content", [hides_errors, lambda file: file.write(b"x")])
def test_a_full_disk_is_told_by_its_own_error(content: Any):
    with pytest.raises(OSError, match="No space left"):
        checksums.write(Full(), content)


def test_an_error_of_the_content_is_raised_as_it_is_and_is_not_its_own_cause():
    def fails(file: Any) -> None:
        raise TypeError("cannot be pickled")

    with pytest.raises(TypeError, match="cannot be pickled") as raised:
        checksums.write(io.BytesIO(), fails)
    assert raised.value.__cause__ is None
