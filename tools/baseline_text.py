"""What naive Bayes on characters makes of the texts of a text classifier's config: the yardstick of docs/results.md.

uv run python tools/baseline_text.py configs/quickstart_text_classification.yaml
"""

import sys
from pathlib import Path

import yaml
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

import zoo
from zoo.samples import Split


def main(config: str) -> None:
    """Train on the training split, choose the smoothing on validation, and print the accuracy on test."""
    data = zoo.TextData(**yaml.safe_load(Path(config).read_text("utf-8"))["data"]["init_args"])
    splits: tuple[Split, ...] = ("train", "validation", "test")
    train, validation, test = (_columns(data, split) for split in splits)
    fitted = []
    for longest in (1, 2, 3, 4):
        for smoothing in (1.0, 0.1, 0.01):
            counts = CountVectorizer(analyzer="char_wb", ngram_range=(1, longest), lowercase=False)
            model = make_pipeline(counts, MultinomialNB(alpha=smoothing)).fit(*train)
            fitted.append((model.score(*validation), longest, smoothing, model))
    best, longest, smoothing, model = max(fitted, key=lambda one: one[0])
    print(f"characters 1 to {longest}, smoothing {smoothing}: validation {best:.2%}, test {model.score(*test):.2%}")


def _columns(data: zoo.TextData, split: Split) -> tuple[list[str], list[str]]:
    samples = data.samples(split)
    return [sample.text for sample in samples], [sample.label for sample in samples]


if __name__ == "__main__":
    main(*sys.argv[1:])
