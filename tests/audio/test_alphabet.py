"""Texts to symbols and back."""

import torch
from transformers import Wav2Vec2CTCTokenizer

from zoo.audio.alphabet import Alphabet, frames_needed, of_texts


def test_labels_are_not_collapsed_and_frames_are():
    alphabet = of_texts(["hello world"])
    labels = alphabet.encode("hello  world ")
    assert alphabet.decode(labels) == "hello world"
    blank = alphabet.blank
    frames = [blank, *(f for label in labels for f in (label, label, blank))]
    assert alphabet.decode(alphabet.collapse(frames)) == "hello world"
    assert alphabet.decode(alphabet.collapse(labels)) == "helo world"


def test_letters_are_those_of_the_texts_in_a_fixed_order():
    assert of_texts(["हिन्दी है", "ab"]) == of_texts(["ab", "है हिन्दी"])
    assert of_texts(["ba a"]).symbols == ("<pad>", "|", "a", "b")


def test_every_script_comes_back_whole():
    for text in ("हिन्दी कि की", "Größe", "日本語", "a|b"):
        assert of_texts([text]).decode(of_texts([text]).encode(text)) == text.replace("|", "")


def test_an_alphabet_of_capitals_takes_small_letters():
    alphabet = Alphabet(("<pad>", "<s>", "|", "A", "B", "'"))
    assert alphabet.decode(alphabet.encode("ab'ba, é")) == "AB'BA"
    assert alphabet.unknown(["ab, é é"]) == {",": 1, "É": 2}


def test_it_decodes_as_transformers_tokenizer_does(tmp_path):
    alphabet = of_texts(["the fox sleeps"])
    path = tmp_path / "vocab.json"
    path.write_text(str({s: i for i, s in enumerate(alphabet.symbols)}).replace("'", '"'))
    tokenizer = Wav2Vec2CTCTokenizer(str(path), pad_token="<pad>", unk_token="<pad>", bos_token=None, eos_token=None)
    for seed in range(20):
        frames = torch.randint(0, len(alphabet.symbols), (60,), generator=torch.Generator().manual_seed(seed))
        frames = frames.repeat_interleave(2).tolist()
        assert alphabet.decode(alphabet.collapse(frames)) == " ".join(tokenizer.decode(frames).split())


def test_a_double_letter_needs_a_frame_more():
    assert frames_needed([3, 4, 4, 5]) == 5
    assert frames_needed([]) == 0
