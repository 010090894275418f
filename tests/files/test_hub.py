import pytest

from zoo.errors import MissingInputError
from zoo.files import hub


def refuse(name: str, error: Exception) -> str:
    with pytest.raises(MissingInputError) as caught, hub.explained(name, "model"):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(MissingInputError, match=r"model ./nope: no such folder"), hub.explained("./nope", "model"):
        pass


def test_without_the_hub_the_line_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "offline", lambda: True)
    assert "not in the local cache, and the Hugging Face hub cannot be reached" in refuse("gpt2", OSError("x"))


def test_a_gated_repository_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "offline", lambda: False)
    said = refuse("meta-llama/Llama-3.2-1B", OSError("You are trying to access a gated repo."))
    assert "Accept its terms" in said
    assert "hf auth login" in said


def test_a_name_that_the_hub_does_not_know_asks_for_the_spelling(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "offline", lambda: False)
    assert "Check the spelling" in refuse("gtp2", OSError("404"))


def test_the_environment_can_ask_to_stay_offline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.offline.cache_clear()
    assert hub.offline()
    hub.offline.cache_clear()
