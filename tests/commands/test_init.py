"""zoo init: what it recognises, and that what it writes runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEXT, save_tiny
from hub_cache import put_model
from PIL import Image

from zoo import hub
from zoo.commands import looking
from zoo.errors import DataError
from zoo.settings import merging, schema

SHORT = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--trainer.limit_val_batches=1"]


def pictures(folder: Path, classes: tuple[str, ...] = ("cats", "dogs"), each: int = 12) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (16, 12), (20 * i, 99, 200 if name == "cats" else 20)).save(folder / name / f"{i}.png")
    return folder


def texts(folder: Path, count: int = 1) -> Path:
    folder.mkdir()
    for i in range(count):
        (folder / f"{i}.txt").write_text(TEXT)
    return folder


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS = [{"id": i, "story": line} for i, line in enumerate(TEXT.splitlines())]


TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501


@pytest.mark.parametrize("form", ["messages", "prompt"])
def test_the_config_for_conversations_starts_from_a_chat_model(form: str, here: Path, zoo_command: Any):
    tiny = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 512}
    put_model("HuggingFaceTB/SmolLM2-135M-Instruct", lambda folder: save_tiny(folder, tiny, TEMPLATE))
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "A fox."}]
    row = {"messages": turns} if form == "messages" else {"prompt": "Who?", "completion": "A fox."}
    table(Path("mine.jsonl"), [row] * 20)
    assert zoo_command("init", "mine.jsonl")[0] == 0
    code, said, complaint = zoo_command("fit", "--config", "mine.yaml", *SHORT)
    assert (code, complaint) == (0, "")
    assert "18 " in said  # of the twenty; two are held out


@pytest.mark.parametrize(
    "make",
    [
        lambda: pictures(Path("mine")),
        lambda: pictures(Path("mine/train")).parent,
        lambda: texts(Path("mine")),
        lambda: table(Path("mine.jsonl"), ROWS),
        lambda: texts(Path("mine"), 3),
    ],
    ids=["pictures", "pictures with splits", "a text", "a table", "three texts"],
)
def test_the_config_for_a_folder_runs(make: Any, here: Path, zoo_command: Any):
    source = make()
    code, said, complaint = zoo_command("init", source)
    assert (code, complaint) == (0, "")
    assert "written: mine.yaml" in said
    code, said, complaint = zoo_command("fit", "--config", "mine.yaml", *SHORT)
    assert (code, complaint) == (0, "")
    assert "run: runs/mine/1" in said


@pytest.mark.parametrize("task", ["text", "images", "zoo.CausalLM"])
@pytest.mark.parametrize("offline", [True, False], ids=["offline", "hub in reach"])
def test_the_config_for_a_task_has_no_mistake(
    task: str, offline: bool, here: Path, zoo_command: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "offline", lambda: offline)
    assert zoo_command("init", task, "--out", "c.yaml")[0] == 0
    config = yaml.safe_load(Path("c.yaml").read_text())
    assert ("pretrained" in config["model"]["init_args"]) is not offline
    Path(config["data"]["init_args"]["train"]).touch()
    assert merging.merged(schema.load(), ["--config", "c.yaml"]).check("fit")[1] == []


def test_what_was_found_is_counted(here: Path):
    assert looking.look(pictures(Path("mine"))).line == "mine: 24 pictures in 2 classes (cats 12, dogs 12)"


def test_the_column_of_the_text_is_found(here: Path, zoo_command: Any):
    zoo_command("init", table(Path("mine.jsonl"), ROWS))
    assert yaml.safe_load(Path("mine.yaml").read_text())["data"]["init_args"]["text_column"] == "story"


def test_a_table_of_pictures_is_recognised(here: Path):
    pictures(Path("mine"))
    rows = [{"path": f"mine/cats/{i}.png", "class": "cats"} for i in range(12)]
    found = looking.look(table(Path("mine.jsonl"), rows))
    assert (found.kind, found.settings) == ("images", {"label_column": "class"})


@pytest.mark.parametrize(("beside", "says"), [("txt", "3 of them with a transcript"), (None, "none with a transcript")])
def test_recordings_are_counted_and_have_no_task_yet(beside: str | None, says: str, here: Path, zoo_command: Any):
    Path("mine").mkdir()
    for i in range(3):
        Path(f"mine/{i}.wav").write_bytes(b"RIFF")
        if beside:
            Path(f"mine/{i}.{beside}").write_text("hello")
    code, _, complaint = zoo_command("init", "mine")
    assert code == 65
    assert complaint == (
        f"zoo: mine: 3 recordings, {says}; zoo has no task for speech yet, so there is no config to write.\n"
    )


def test_pictures_without_classes_say_what_is_needed(here: Path):
    with pytest.raises(DataError, match="a folder per class"):
        looking.look(pictures(Path("mine"), ("all",)))


def test_a_folder_of_something_else_says_what_it_holds(here: Path):
    Path("mine").mkdir()
    Path("mine/a.docx").touch()
    with pytest.raises(DataError, match=r"mine holds 1 \.docx; expected texts"):
        looking.look(Path("mine"))


def test_a_config_is_never_overwritten(here: Path, zoo_command: Any):
    Path("my_text.yaml").write_text("mine")
    code, _, complaint = zoo_command("init", "text")
    assert (code, Path("my_text.yaml").read_text()) == (2, "mine")
    assert "my_text.yaml is there already" in complaint


def test_a_dash_prints_the_config_and_nothing_else(here: Path, zoo_command: Any):
    code, said, _ = zoo_command("init", texts(Path("mine")), "--out", "-")
    assert code == 0
    assert yaml.safe_load(said)["data"]["init_args"]["train"] == "mine/0.txt"
