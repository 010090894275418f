"""Transcripts in a form in which they can be compared: without case, punctuation, and other spellings of the same."""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

Normaliser = Callable[[str], str]


def normaliser(language: str | None, spellings: tuple[tuple[str, str], ...] = ()) -> tuple[str, Normaliser]:
    """What a word error rate is measured on, by name: results of different normalisers cannot be compared.

    Args:
        language: en or english for Whisper's normaliser of English (numbers in digits, contractions written out); all
            others, and None, keep every letter and combining mark.
        spellings: British to American ones, for Whisper's; they come with its weights.
    """
    if language in ("en", "english"):
        words = f", {len(spellings):,} spellings" if spellings else ", no spellings"
        return f"Whisper's English{words}", _english(spellings)
    return "lower case, no punctuation, marks kept", without_punctuation


@cache
def _english(spellings: tuple[tuple[str, str], ...]) -> Normaliser:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer(dict(spellings))


def without_punctuation(text: str) -> str:
    """In lower case, what stands in brackets and all punctuation and symbols removed.

    Whisper's own normaliser for languages other than English also removes combining marks, without which हिन्दी is no
    word and कि the same as की. Here they stay, and joiners that are not seen go.
    """
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]+?\)", "", unicodedata.normalize("NFKC", text).lower())
    return " ".join("".join(_kept(letter) for letter in text).split())


def _kept(letter: str) -> str:
    kind = unicodedata.category(letter)
    return "" if kind == "Cf" else " " if kind[0] in "PSZC" else letter


def plain(text: str) -> str:
    """A transcript as a network without punctuation is to write it: lower case; letters, marks, digits, apostrophes."""
    text = unicodedata.normalize("NFC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return " ".join("".join(letter if letter == "'" else _kept(letter) for letter in text).split())


def as_written(text: str) -> str:
    """A transcript as it is, but for the spaces in it, and for letters that can be written in two ways."""
    return " ".join(unicodedata.normalize("NFC", text).split())
