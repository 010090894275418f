"""Texts to compare."""

import pytest
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from zoo.audio.normalise import as_written, normaliser, plain, without_punctuation


def test_combining_marks_are_kept_where_whispers_own_normaliser_breaks_words():
    assert without_punctuation("हिन्दी, कि।") == "हिन्दी कि"
    assert without_punctuation("कि") != without_punctuation("की")
    assert BasicTextNormalizer(remove_diacritics=True)("कि") == BasicTextNormalizer(remove_diacritics=True)("की")
    assert without_punctuation("தமிழ் ภาษาไทย עִבְרִית") == "தமிழ் ภาษาไทย עִבְרִית"


def test_without_marks_it_is_whispers_basic_normaliser():
    for text in ("Hello, World!", "A [noise] (laughs) B – c", "Straße 12, l'homme; 3.5 %", "Привет, мир…"):
        assert without_punctuation(text) == BasicTextNormalizer()(text).strip()


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_joiners_that_are_not_seen_make_no_difference(joiner: str):
    assert without_punctuation(f"क्{joiner}ष") == without_punctuation("क्ष")


def test_english_is_normalised_by_whispers_english_normaliser_and_says_so():
    name, english = normaliser("en", (("colour", "color"),))
    assert english("Mr. Smith didn't see twenty-one colours, uh, colour") == "mister smith did not see 21 colours color"
    assert name == "Whisper's English, 1 spellings"
    assert normaliser("hi")[0] == normaliser(None)[0] == "lower case, no punctuation, marks kept"


def test_a_plain_transcript_has_letters_marks_digits_and_apostrophes():
    assert plain("  Don’t — “stop”, 24 हिन्दी!\n") == "don't stop 24 हिन्दी"
    assert as_written(" Don't  stop! ") == "Don't stop!"
    assert plain("cafe\u0301") == "café"
