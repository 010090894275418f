"""Whatever is in a file, its reader gives samples or one line of ours: no traceback, no hang, no memory without bound.

    python tools/fuzz_readers.py [--count 5000] [--seed 0] [KIND ...]

Every kind begins with files as they should be, which are changed at random (by the seed, so that a finding comes again)
and read as a data module does. Each kind runs in a process of its own, as a decoder may end it.
"""

import argparse
import gzip
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import zoo
from zoo.errors import UserError
from zoo.images import reading

SECONDS, MEBIBYTES = 5.0, 1024
Files = dict[str, bytes]
"""What is read, by name; every file of it is changed now and then."""
ROWS = [
    {"text": "One, two", "label": "007"},
    {"text": "Zwei\nZeilen für „uns“", "label": "NA"},
    {"text": "", "label": ""},
]
TALK = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}] * 3


class HangError(BaseException):
    """A reader is at it for too long. No Exception, so that no reader takes it for one of a decoder."""


# Files as they should be ----------------------------------------------------------------------------------------


def table(separator: str) -> bytes:
    lines = [f"text{separator}label", *(f'"{row["text"]}"{separator}{row["label"]}' for row in ROWS)]
    return "\n".join(lines).encode()


def jsonl(rows: list[Any]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def parquet(rows: list[dict[str, Any]], compression: str) -> bytes:
    pq.write_table(pa.Table.from_pylist(rows), sink := io.BytesIO(), compression=compression)
    return sink.getvalue()


def picture(kind: str, size: int = 24, **settings: Any) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(sink := io.BytesIO(), kind, **settings)
    return sink.getvalue()


def idx() -> Files:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8)
    images = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + pixels.tobytes()
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes([9, 0])
    return {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}


def npz() -> bytes:
    x, y = np.zeros((2, 4, 4, 3), dtype=np.uint8), np.array([[0], [9]])
    np.savez_compressed(sink := io.BytesIO(), x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    return sink.getvalue()


def cifar() -> Files:
    planes = np.zeros((1, 3072), dtype=np.uint8)
    batch = pickle.dumps({b"data": planes, b"labels": [1]}, protocol=2)
    names = pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol=2)
    return {"batches.meta": names, "data_batch_1": batch, "test_batch": batch}


TEXT = "Grüße aus dem Café – „schön“, señor. Привет! これは日本語\n\nZweiter Absatz.\n"
ENCODED = {
    encoding: TEXT.encode(encoding, "ignore")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "koi8-r", "shift_jis", "gb18030")
}
KINDS: dict[str, list[Files]] = {
    "csv": [{"a.csv": table(",")}, {"a.csv": table(";")}, {"a.csv": table(",").decode().encode("cp1252")}],
    "tsv": [{"a.tsv": table("\t")}, {"a.tsv.gz": gzip.compress(table("\t"))}],
    "jsonl": [{"a.jsonl": jsonl(ROWS)}, {"a.jsonl": jsonl(TALK)}, {"a.json": json.dumps(ROWS).encode()}],
    "txt": [{"a.txt": TEXT.encode()}, {"a.txt.gz": gzip.compress(TEXT.encode() * 20)},
            {"a.txt.zst": pa.compress(TEXT.encode() * 20, codec="zstd", asbytes=True)}],
    "encodings": [{"a.txt": content} for content in ENCODED.values()],
    "parquet": [{"a.parquet": parquet(rows, how)} for rows in (ROWS, TALK) for how in ("none", "snappy", "zstd")],
    "image tables": [{"a.csv": b"path,label\na.png,007\nb.png,NA\n"},
                     {"a.jsonl": jsonl([{"path": "a.png", "label": 7}])},
                     {"a.parquet": parquet([{"image": {"bytes": picture("png"), "path": None}, "label": 1}], "none")},
                     {"a.txt": "größe.png\nb.png\n".encode("latin-1")}],
    "images": [{"a.png": picture("png")}, {"a.jpg": picture("jpeg")}, {"a.jpg": picture("jpeg", progressive=True)},
                 {"a.webp": picture("webp")}, {"a.webp": picture("webp", lossless=True)}, {"a.gif": picture("gif")},
                 {"a.bmp": picture("bmp")}, {"a.ppm": picture("ppm")}, {"a.jpg": picture("jpeg2000")},
                 {"a.avif": picture("avif")},
                 *({"a.tiff": picture("tiff", compression=how)} for how in ("raw", "tiff_lzw", "jpeg", "packbits"))],
    "npz": [{"a.npz": npz()}],
    "idx": [idx(), {f"{name}.gz": gzip.compress(content) for name, content in idx().items()}],
    "cifar": [cifar()],
}  # fmt: skip
WORDS = [b"\0", b"\xff", b"\xff\xfe", b'"', b"\n", b"\r", b",", b"[", b"{", b"\\ud800", b"\x00\x00\x00\x00",
         b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"-1", b"1e999", b"\xe2\x80\xa8"]  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one to eight changes: bits, words put in, parts taken out, repeated, or moved."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        at, to = sorted(chance.randrange(len(found) + 1) for _ in range(2))
        what = chance.randrange(8)
        if what <= 1 and found:
            found[min(at, len(found) - 1)] ^= 1 << chance.randrange(8)
        elif what == 2:
            found[at:at] = chance.choice(WORDS) * chance.choice((1, 1, 1, 3, 100_000 if chance.random() < 0.02 else 10))
        elif what == 3:
            word = chance.choice(WORDS)
            found[at : at + len(word)] = word
        elif what == 4:
            del found[at : min(to, at + 64)]
        elif what == 5 and chance.random() < 0.3:
            del found[at:]
        elif what == 6:
            found[at:at] = found[at : min(to, at + 256)] * chance.choice((1, 2, 16))
        else:
            found[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice((1, 4, 32))))
    return bytes(found)


# Reading --------------------------------------------------------------------------------------------------------


def texts(folder: Path, chance: random.Random) -> None:
    (path,) = folder.iterdir()
    how = {"documents": chance.choice(("auto", "lines", "blank")), "encoding": chance.choice((None, None, "utf-8"))}
    data = zoo.TextData(train=str(path), validation=str(path), **how)  # type: ignore[arg-type]
    samples = data.samples("train")
    assert len(samples.digest()) == 64
    assert len([*samples]) == len(samples) == len(samples.lengths)
    data.describe("train")


def image_table(folder: Path, chance: random.Random) -> None:
    (path,) = folder.iterdir()
    images(path)


def images(path: Path, chance: random.Random | None = None) -> None:
    data = zoo.ImageData(train=str(path), validation=str(path), num_workers=0, max_broken=1.0)
    for sample in data.samples("train"):
        look(sample.image)


def look(image: Any) -> None:
    with suppress(UserError):
        assert reading.read(image).mode == "RGB"


READERS: dict[str, Callable[[Path, random.Random], None]] = dict.fromkeys(KINDS, texts)
READERS |= {"image tables": image_table, "images": images, "npz": image_table, "idx": images, "cifar": images}


def read_one(kind: str, number: int, seed: int, folder: Path) -> str:
    """What became of one change: read, refused, or what must not be."""
    chance = random.Random(f"{kind} {seed} {number}")
    files = chance.choice(KINDS[kind])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    changed = chance.choice([*files])
    for name, content in files.items():
        (folder / name).write_bytes(mutated(content, chance) if name == changed else content)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with redirect_stdout(io.StringIO()):
            READERS[kind](folder, chance)
        return "read"
    except UserError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {str(error)[:200]!r}"
    except HangError:
        return f"hang: more than {SECONDS:g} s"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:120]!r} at {place.filename}:{place.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def fuzz(
    kind: str, count: int, seed: int, folder: Path, say: Callable[[int], Any] = lambda number: None
) -> Counter[str]:
    """How often each thing happened; what must not is told with its number."""
    found: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, hang)
    os.environ["ZOO_CACHE"] = str(folder / "cache")
    _ = zoo.TextData, zoo.ImageData  # imported now, so that no alarm goes off in the middle of it
    before = peak()
    for number in range(count):
        say(number)
        became = read_one(kind, number, seed, folder / "files")
        found[became if became in ("read", "refused") else f"{number}: {became}"] += 1
        if number % 200 == 0:
            shutil.rmtree(folder / "cache", ignore_errors=True)
    if peak() - before > MEBIBYTES:
        found[f"memory: {peak() - before:.0f} MiB"] += 1
    return found


def hang(*_: Any) -> None:
    raise HangError


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            at = Path(folder, "at")
            found = fuzz(asked.kinds[0], asked.count, asked.seed, Path(folder), lambda n: at.write_text(str(n)))
        print(json.dumps(found))
        return
    failed = False
    for kind in asked.kinds or KINDS:
        begin = time.perf_counter()
        command = [sys.executable, __file__, kind, "--here", f"--count={asked.count}", f"--seed={asked.seed}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout) if done.returncode == 0 else {f"ended with {done.returncode}: {done.stderr}": 1}
        bad = [what for what in found if what not in ("read", "refused")]
        failed |= bool(bad)
        counts = f"{found.get('read', 0):,} read, {found.get('refused', 0):,} refused, {len(bad)} that must not be"
        print(f"{kind:13} {counts}, {time.perf_counter() - begin:.0f} s", *bad[:20], sep="\n    ", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
