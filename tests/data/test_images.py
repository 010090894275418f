"""ImageData against what is on disk: every form of source, the splits, and files that are broken."""

import gzip
import io
import json
import os
import pickle
import struct
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_cases import ADAMW, trainer
from lightning.pytorch import Callback
from PIL import Image

import zoo
from zoo.data import image_sources
from zoo.errors import DataError, MissingInputError
from zoo.files.broken import BadSamples
from zoo.images.augment import Augmentation

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def save(path: Path, colour: tuple[int, ...], size: tuple[int, int] = (20, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def class_folders(folder: Path, count: int = 10) -> Path:
    for name, colour in COLOURS.items():
        for i in range(count):
            save(folder / name / f"{i:02}.png", (colour[0], colour[1], colour[2] + i))
    return folder


def data(source: Path | str, **kwargs: Any) -> zoo.ImageData:
    return zoo.ImageData(**{"train": str(source), "batch_size": 8, "num_workers": 0, **kwargs})


def task(**kwargs: Any) -> zoo.ImageClassification:
    tiny = {"name": "vit_tiny_patch16_224", "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    plain = {"architecture": tiny, "image_size": 16, "augmentation": Augmentation(scale=1), "optimizer": ADAMW}
    return zoo.ImageClassification(**{**plain, **kwargs})


def set_up(module: zoo.ImageData) -> zoo.ImageData:
    trainer(0).fit(task(), datamodule=module)
    return module


def read(source: Path | str) -> dict[str, list[zoo.ImageSample]]:
    """All that a source has, by split."""
    module = zoo.ImageData()
    splits = {split: module.read(str(source), split, "train") for split in ("train", "validation", "test")}
    return {split: found.samples for split, found in splits.items() if found is not None}


def labels(samples: list[zoo.ImageSample]) -> list[str | None]:
    return [sample.label for sample in samples]


# Sources --------------------------------------------------------------------------------------------------------


def test_a_folder_per_class_gives_each_image_its_class(tmp_path: Path):
    found = read(class_folders(tmp_path, 2))
    assert labels(found["train"]) == ["blue", "blue", "green", "green", "red", "red"]


def test_folders_called_train_val_and_test_are_the_splits(tmp_path: Path):
    for name, count in {"train": 3, "val": 2, "test": 1}.items():
        class_folders(tmp_path / name, count)
    found = read(tmp_path)
    assert {split: len(samples) for split, samples in found.items()} == {"train": 9, "validation": 6, "test": 3}


def test_a_flat_folder_has_images_without_a_class(tmp_path: Path):
    save(tmp_path / "a.png", (1, 2, 3))
    assert labels(read(tmp_path)["train"]) == [None]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_names_images_relative_to_itself(tmp_path: Path, suffix: str):
    save(tmp_path / "in" / "a.png", (1, 2, 3))
    row = {"path": "in/a.png", "label": "cat"}
    text = json.dumps(row) if suffix == ".jsonl" else "path,label\nin/a.png,cat\n"
    (tmp_path / f"list{suffix}").write_text(text)
    (sample,) = read(tmp_path / f"list{suffix}")["train"]
    assert (Path(sample.image), sample.label) == (tmp_path / "in" / "a.png", "cat")


def test_a_parquet_file_with_images_inside_is_read_when_they_are_called_for(tmp_path: Path):
    import datasets

    pixels = np.full((4, 5, 3), 7, dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    table = datasets.Dataset.from_dict({"image": [Image.fromarray(pixels)], "label": [1]}, features=features)
    table.to_parquet(str(tmp_path / "x.parquet"))
    (sample,) = read(tmp_path / "x.parquet")["train"]
    assert sample.label == "dog"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample.image()))), pixels)


def test_a_data_set_of_the_hub_is_trained_on_and_its_classes_have_their_names(here: Path, zoo_command: Any):
    import datasets
    from hub_cache import put_rows

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["rust", "healthy"])})
    colours = {0: (180, 90, 20), 1: (20, 160, 40)}
    rows = [
        {"img": {"bytes": save(here / f"{i}.png", colours[i % 2]).read_bytes(), "path": None}, "label": i % 2}
        for i in range(12)
    ]
    put_rows("someone/leaves", "default", {"train": rows, "validation": rows[:4], "test": rows[4:8]}, features)
    network = {"name": "vit_tiny_patch16_224", "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    flags = ["--model=zoo.ImageClassification", f"--model.architecture={network}", "--model.image_size=16"]
    flags += ["--model.optimizer=torch.optim.AdamW", "--data=zoo.ImageData", "--data.train=someone/leaves"]
    flags += ["--data.num_workers=0", "--trainer.max_steps=2", "--trainer.accelerator=cpu"]
    code, said, complaint = zoo_command("fit", *flags)
    assert (code, complaint) == (0, "")
    assert "train: someone/leaves: 12 images, 2 classes" in said
    assert "validation: someone/leaves: 4 images, 2 classes" in said
    written = json.loads((here / "runs/run/1/model/config.json").read_text())
    assert written["label_names"] == ["healthy", "rust"]


@pytest.mark.parametrize("packed", [True, False])
def test_mnists_files_are_read_as_their_format_says(tmp_path: Path, packed: bool):
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    files = {
        "train-images-idx3-ubyte": struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + pixels.tobytes(),
        "train-labels-idx1-ubyte": struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes([9, 0]),
    }
    for name, content in files.items():
        (tmp_path / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    samples = read(tmp_path)["train"]
    assert labels(samples) == ["9", "0"]
    assert np.array_equal(samples[1].image, pixels[1])


def test_a_damaged_idx_file_is_named(tmp_path: Path):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged"):
        read(tmp_path)


def cifar(folder: Path, module: Any = None) -> Path:
    """CIFAR-10's python version with one image in each batch: red 1, green 2, blue 3 everywhere."""
    folder.mkdir(exist_ok=True)
    planes = np.concatenate([np.full(1024, c, dtype=np.uint8) for c in (1, 2, 3)])[None]
    names = {b"label_names": [b"cat", b"dog"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        (folder / name).write_bytes(pickle.dumps({b"data": planes, b"labels": [1], b"x": module}, protocol=2))
    return folder


def test_cifars_batches_are_read(tmp_path: Path):
    found = read(cifar(tmp_path / "cifar"))
    assert {split: labels(samples) for split, samples in found.items()} == {"train": ["dog", "dog"], "test": ["dog"]}
    assert found["train"][0].image.shape == (32, 32, 3)
    assert found["train"][0].image[5, 7].tolist() == [1, 2, 3]


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="not a batch of CIFAR .it holds"):
        read(cifar(tmp_path / "cifar", module=Path("x")))


def test_a_pickle_that_wants_to_remember_more_than_it_holds_is_refused(tmp_path: Path):
    """Of 20 bytes, Python would reserve 16 GiB."""
    folder = cifar(tmp_path / "cifar")
    (folder / "data_batch_2").write_bytes(b"\x80\x02}r" + (2**30).to_bytes(4, "little") + b".")
    with pytest.raises(DataError, match="data_batch_2 is damaged, .* remember 1,073,741,824 values"):
        read(folder)


def test_an_npz_has_train_and_test(tmp_path: Path):
    x, y = np.zeros((2, 4, 4, 3), dtype=np.uint8), np.array([[0], [9]])
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    found = read(tmp_path / "cifar10.npz")
    assert labels(found["train"]) == ["airplane", "truck"]
    assert labels(found["test"]) == ["airplane"]


def test_the_digits_inside_scikit_learn_need_no_download():
    samples = read("python:sklearn.datasets.load_digits")["train"]
    assert len(samples) == 1797
    assert {sample.label for sample in samples} == set("0123456789")
    assert max(sample.image.max() for sample in samples) == 255


@pytest.mark.parametrize("source", ["./nowhere", "list.csv", "python:sklearn.datasets.load_nothing"])
def test_a_source_that_is_not_there_is_named(here: Path, source: str):
    with pytest.raises(MissingInputError, match=source.removeprefix("python:").split(".")[-1]):
        read(source)


def refused(source: Path | str, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        data(source, validation=str(source), **settings).samples("train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_of_tables_stay_what_they_are(tmp_path: Path):
    save(tmp_path / "a.png", (1, 2, 3))
    words = ["007", "010", "NA", "null", "1.0", "ü"]
    table = "path,label\n" + "".join(f"a.png,{word}\n" for word in words) + "a.png,\n"
    for encoding in ("utf-8", "cp1252", "utf-16"):
        (tmp_path / "list.csv").write_bytes(table.encode(encoding))
        assert labels(read(tmp_path / "list.csv")["train"]) == [*words, None]
    rows = [{"path": "a.png", "label": label} for label in ("007", 7, True, None)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert labels(read(tmp_path / "list.jsonl")["train"]) == ["007", "7", "True", None]


def test_columns_of_tables_may_be_named(tmp_path: Path):
    save(tmp_path / "a.png", (1, 2, 3))
    (tmp_path / "list.csv").write_text("where;label;breed\na.png;cat;manx\n")
    module = data(tmp_path / "list.csv", image_column="where", label_column="breed", separator=";")
    module.sources["validation"] = str(tmp_path / "list.csv")
    (sample,) = module.samples("train")
    assert (sample.image, sample.label) == (tmp_path / "a.png", "manx")
    assert "has no column 'kind' (columns: path, label). Set data.label_column to one of them." in refused(
        write(tmp_path / "b.csv", "path,label\na.png,cat\n"), label_column="kind"
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_pattern_says_where_the_file_of_a_row_is(ending: str, tmp_path: Path):
    for name in ("cat/1", "dog/002"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / "in" / f"{name}.png", (1, 2, 3))
    rows = {
        "csv": "kind,id,label\ncat,1,a\ndog,002,b\ndog,,b\n",
        "jsonl": '{"kind": "cat", "id": 1, "label": "a"}\n{"kind": "dog", "id": "002", "label": "b"}\n',
    }
    path = write(tmp_path / f"list.{ending}", rows[ending])
    module = data(path, image_column="in/{kind}/{id}.png")
    module.sources["validation"] = str(path)
    found = [(sample.image, sample.label) for sample in module.samples("train")]
    assert found == [(tmp_path / "in/cat/1.png", "a"), (tmp_path / "in/dog/002.png", "b")]
    assert "has no column 'name' (columns: kind, id, label). Set data.image_column" in refused(
        path, image_column="in/{name}.png"
    )


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "path,label\na.png,cat\nb.png,dog,x\n", "a.csv line 3 has 3 fields, the header 2."),
        ("b.csv", "path;label\na.png;cat\n", "b.csv has one column 'path;label'; it looks ';'-separated."),
        ("c.csv", "name,label\na.png,cat\n", "c.csv has no column with an image (columns: name, label; expected"),
        ("d.csv", "path,label\n", "d.csv has no images in it."),
        ("e.csv", 'path,label\na.png,"cat\n', "e.csv line 2: a quote opens there and never closes"),
        (
            "a.jsonl",
            '{"path": "a.png"}\n{"path": 3}',
            "a.jsonl line 2 has 3 for 'path', which is no path; 1 of 2 rows.",
        ),
        ("b.jsonl", '{"path": "a.png", "label": {"a": 1}}', "has {'a': 1} for 'label', which is no name of a class"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_line(name: str, content: str | bytes, says: str, tmp_path: Path):
    assert says in refused(write(tmp_path / name, content))


def test_an_empty_cell_is_left_out_and_counted(tmp_path: Path):
    save(tmp_path / "a.png", (1, 2, 3))
    module = data(write(tmp_path / "list.csv", "path,label\na.png,cat\n,dog\n"))
    module.sources["validation"] = module.sources["train"]
    assert len(module.samples("train")) == 1
    assert "list.csv: 1 images, 1 classes, 1 empty rows left out" in module.describe("train")


def test_a_list_of_paths_may_be_in_latin_1_and_have_names_that_no_file_can_have(tmp_path: Path):
    save(tmp_path / "größe.png", (1, 2, 3))
    module = data(write(tmp_path / "list.txt", "größe.png\nx\0y.png\n".encode("latin-1")), max_broken=0.5)
    module.sources["validation"] = module.sources["train"]
    assert [sample.image for sample in module.samples("train")] == [tmp_path / "größe.png"]
    assert [bad.reason for bad in module.bad.found] == ["embedded null byte"]


def test_a_folder_of_tables_keeps_its_splits_and_each_table_its_own_images(tmp_path: Path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in (1, 2):
            (tmp_path / split / f"{i}.csv").write_text(f"path,label\n{i}.png,cat\n")
    found = {split: [sample.image for sample in samples] for split, samples in read(tmp_path).items()}
    assert found == {split: [tmp_path / split / f"{i}.png" for i in (1, 2)] for split in ("train", "test")}


# Folders that lie -----------------------------------------------------------------------------------------------


def test_a_link_that_leads_back_gives_no_image_twice_and_is_named(tmp_path: Path):
    folder = class_folders(tmp_path / "images", 4)
    (folder / "red" / "all").symlink_to("..")
    (folder / "again").symlink_to("blue")
    (folder / "round").symlink_to(tmp_path)
    (folder / "itself").symlink_to("itself")
    module = data(folder)
    module.sources["validation"] = str(folder)
    assert labels(module.samples("train")) == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    for name in ("red/all", "again", "round"):
        assert f"left out the link {folder}/{name}, which leads to a folder that is read anyway" in module.describe(
            "train"
        )


def test_links_to_folders_elsewhere_are_classes(tmp_path: Path):
    elsewhere = class_folders(tmp_path / "elsewhere", 2)
    (elsewhere / "red" / "loop").symlink_to(elsewhere)
    for name in ("cat", "dog"):
        save(tmp_path / "images" / name / "a.png", (1, 2, 3))
    (tmp_path / "images" / "bird").symlink_to(elsewhere / "red")
    assert labels(read(tmp_path / "images")["train"]).count("bird") == 6


def test_a_pipe_among_the_images_is_a_broken_file(tmp_path: Path):
    folder = class_folders(tmp_path / "images", 4)
    os.mkfifo(folder / "red" / "pipe.png")
    module = data(folder, max_broken=0.5)
    module.sources["validation"] = str(folder)
    assert len(module.samples("train")) == 12
    assert [bad.reason for bad in module.bad.found] == ["it is not a regular file"]


# Splits ---------------------------------------------------------------------------------------------------------


def test_the_split_has_the_same_share_of_every_class_and_no_image_twice(tmp_path: Path):
    module = data(class_folders(tmp_path), validation_fraction=0.2, test_fraction=0.3)
    t = trainer(0)
    t.fit(task(), datamodule=module)
    parts = {split: module.samples(split) for split in ("train", "validation", "test")}
    counts = {split: [labels(samples).count(name) for name in COLOURS] for split, samples in parts.items()}
    assert counts == {"train": [5] * 3, "validation": [2] * 3, "test": [3] * 3}
    assert len({sample.image for samples in parts.values() for sample in samples}) == 30


def test_another_seed_splits_otherwise(tmp_path: Path):
    def held(seed: int) -> list[Path]:
        module, t = data(class_folders(tmp_path)), trainer(0)
        t.seed = seed
        t.fit(task(), datamodule=module)
        return [sample.image for sample in module.samples("validation")]

    assert held(0) == held(0)
    assert held(0) != held(1)


def test_a_limit_keeps_the_share_of_every_class(tmp_path: Path):
    module = set_up(data(class_folders(tmp_path), limit=6))
    assert sorted(labels(module.samples("train"))) == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2


def test_images_without_a_class_are_refused_in_one_line(tmp_path: Path):
    save(tmp_path / "a.png", (1, 2, 3))
    with pytest.raises(DataError, match="1 of 1 images have no class"):
        set_up(data(tmp_path))


def test_classes_that_the_model_does_not_know_are_named_with_those_that_it_knows(tmp_path: Path):
    class_folders(tmp_path / "train", 3)
    save(tmp_path / "val" / "purple" / "a.png", (90, 0, 90))
    with pytest.raises(DataError, match="'purple', which the model does not know; its 3 classes are 'blue', 'green'"):
        set_up(data(tmp_path))


# Broken files ---------------------------------------------------------------------------------------------------


def encoded(suffix: str, **settings: Any) -> bytes:
    """An image of noise, so that its file is long."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer := io.BytesIO(), suffix, **settings)
    return buffer.getvalue()


def too_large() -> bytes:
    """A PNG whose header promises 60,000 × 60,000 pixels: a bomb."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + check + encoded("png")[33:]


BROKEN = {
    "cut.jpg": encoded("jpeg")[:2000],
    "cut.png": encoded("png")[:2000],
    "cut.webp": encoded("webp", lossless=True)[:2000],
    "empty.png": b"",
    "text.png": b"no image at all",
    "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "head.png": b"\x89PNG\r\n\x1a\n\0\0",
    "bomb.png": too_large(),
    "garbled.png": encoded("png")[:60] + bytes(500) + encoded("png")[560:],
}


def break_ten(folder: Path) -> Path:
    """Ten files, each broken in another way, among images: three show only when they are decoded."""
    class_folders(folder)
    for name, content in BROKEN.items():
        (folder / "blue" / name).write_bytes(content)
    (folder / "green" / "gone.png").symlink_to(folder / "nowhere.png")
    return folder


def test_each_of_ten_broken_files_is_named_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    module = data(break_ten(tmp_path / "images"), max_broken=0.5, validation_fraction=0.01)
    module.bad.path = tmp_path / "bad_samples.jsonl"
    trainer(max_epochs=1).fit(task(), datamodule=module)
    rows = [json.loads(line) for line in module.bad.path.read_text().splitlines()]
    assert {Path(row["sample"]).name for row in rows} == {*BROKEN, "gone.png"}
    assert all(row["reason"] for row in rows)
    said = capsys.readouterr().out
    assert all(f"{name}: " in said for name in (*BROKEN, "gone.png"))


def test_unusual_images_are_not_broken(tmp_path: Path):
    folder = tmp_path / "images"
    class_folders(folder, 2)
    red = folder / "red"
    frames = [Image.new("P", (20, 16), i) for i in range(3)]
    frames[0].save(red / "animated.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (20, 16), (0, 200, 200, 0)).save(red / "print.jpg")
    Image.fromarray(np.full((16, 20), 40_000, dtype=np.uint16)).save(red / "deep.png")
    (red / "webp.jpg").write_bytes(encoded("webp"))
    Image.new("RGBA", (20, 16), (200, 0, 0, 0)).save(red / "clear.png")
    save(red / "folder.jpg" / "inside.png", (200, 0, 0))
    module = data(folder, validation_fraction=0.01)
    trainer(max_epochs=1).fit(task(), datamodule=module)
    assert module.bad.found == []
    assert labels(module.samples("train") + module.samples("validation")).count("red") == 8


def test_more_broken_files_than_the_limit_stop_the_run(tmp_path: Path, here: Path):
    break_ten(tmp_path / "images")
    with pytest.raises(DataError, match=r"cannot be read .*data.max_broken"):
        set_up(data(tmp_path / "images"))
    assert [path.name for path in here.iterdir()] == ["images"]


def test_the_list_of_a_run_that_could_not_begin_lies_beside_the_runs_of_its_name(tmp_path: Path, here: Path):
    break_ten(tmp_path / "images")
    for _ in range(2):
        module = data(tmp_path / "images")
        module.bad.without_run = Path("runs/mine/bad_samples.jsonl")
        with pytest.raises(DataError, match=r"listed in runs/mine/bad_samples.jsonl"):
            set_up(module)
    rows = Path("runs/mine/bad_samples.jsonl").read_text().splitlines()
    assert len(rows) == len({json.loads(row)["sample"] for row in rows}) == 7


@pytest.mark.parametrize(("bad", "good", "stops"), [(1, 98, False), (5, 95, False), (6, 94, True), (1, 8, True)])
def test_a_few_broken_files_do_not_stop_a_run_where_they_are_few(bad: int, good: int, stops: bool, here: Path):
    broken = BadSamples(0.001)
    with pytest.raises(DataError, match=f"{bad} of {bad + good}") if stops else nullcontext():
        broken.add("train", [(str(i), "cut off") for i in range(bad)], bad + good)
    with pytest.raises(DataError, match="up to 0 are left out"):
        BadSamples(0).add("train", [("a", "cut off")], 99)


def test_a_list_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    broken = BadSamples(0.5)
    broken.path = tmp_path / "file" / "bad_samples.jsonl"
    (tmp_path / "file").write_text("")
    broken.add("train", [("a", "cut off")], 9)
    assert "bad_samples.jsonl cannot be written" in capsys.readouterr().err


def test_the_next_image_stands_in_for_a_broken_one_with_any_number_of_workers(tmp_path: Path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "val", 2)
    (tmp_path / "train" / "blue" / "cut.jpg").write_bytes(BROKEN["cut.jpg"])

    class Watch(Callback):
        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.seen.append(torch.cat([batch["image"].flatten(1), batch["targets"][:, None]], 1))

    def seen(workers: int) -> torch.Tensor:
        watch = Watch()
        module = data(tmp_path, num_workers=workers, max_broken=0.5)
        trainer(max_epochs=1, callbacks=[watch]).fit(task(), datamodule=module)
        return torch.cat(watch.seen)

    alone = seen(0)
    assert len(alone) == 31
    assert torch.equal(alone, seen(2))


def test_a_broken_image_is_left_out_of_an_evaluation(tmp_path: Path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "val", 2)
    (tmp_path / "val" / "blue" / "cut.jpg").write_bytes(BROKEN["cut.jpg"])
    classifier = task()
    trainer(1).fit(classifier, datamodule=data(tmp_path, max_broken=0.5))
    assert classifier.last_metrics["images"] == 6


def test_headers_are_read_once(tmp_path: Path):
    samples = read(class_folders(tmp_path, 2))["train"]
    looked: list[Path] = []

    def header(path: Path) -> None:
        looked.append(path)

    for _ in range(2):
        assert image_sources.check_headers(samples, str(tmp_path), header) == {}
    assert len(looked) == 6
