import pytest

from zoo.errors import ConfigError
from zoo.loop import guards

CONFIG = {
    "seed_everything": 0,
    "model": {
        "class_path": "zoo.CausalLM",
        "init_args": {"optimizer": {"class_path": "AdamW", "init_args": {"lr": 1}}},
    },
    "trainer": {"max_epochs": 3, "precision": "16-mixed"},
    "checkpoint": {"keep": 2},
}


def test_settings_have_the_names_of_the_command_line():
    flat = guards.flat(CONFIG)
    assert flat["model.optimizer.lr"] == 1
    assert flat["model.optimizer"] == "AdamW"
    assert flat["model"] == "zoo.CausalLM"


def test_where_how_long_and_how_often_saved_may_change():
    assert not {"trainer.max_epochs", "checkpoint.keep"} & guards.flat(CONFIG).keys()


def test_a_changed_setting_is_refused_with_both_values():
    match = r"made with data.batch_size=8, the config says 16; .*--allow-change data.batch_size"
    with pytest.raises(ConfigError, match=match):
        guards.check({"data.batch_size": 8}, {"data.batch_size": 16}, [])


def test_an_allowed_change_brings_along_what_is_below_it():
    before, after = {"o": "AdamW", "o.lr": 1, "o.eps": 1}, {"o": "SGD", "o.lr": 2}
    assert guards.check(before, after, ["o"]) == ["o"]


def test_of_a_changed_class_only_the_class_is_named():
    with pytest.raises(ConfigError, match=r"^the checkpoint was made with o=AdamW, the config says SGD;"):
        guards.check({"o": "AdamW", "o.eps": 1}, {"o": "SGD"}, [])


def test_an_allowed_change_does_not_allow_another():
    with pytest.raises(ConfigError, match="seed"):
        guards.check({"seed": 1, "lr": 1}, {"seed": 2, "lr": 2}, ["lr"])
