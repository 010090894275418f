"""A recording as an image: its spectrogram, with each word above the time in which it is said."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from zoo.audio.features import LogMel
from zoo.files.paths import write_whole

SECONDS = 15.0
"""Of a longer recording, its beginning is drawn."""


def words_over_time(waveform: np.ndarray, rate: int, words: list[dict[str, Any]], path: Path) -> Path:
    """PNG: log-mels of the beginning of a recording, and where words begin and end.

    Args:
        words: each with `word`, `start` and `end`, in seconds.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    shown = waveform[: round(SECONDS * rate)]
    seconds = len(shown) / rate
    figure: Any = Figure(figsize=(max(4.0, 1.1 * seconds), 3.2), layout="constrained")
    axes = figure.subplots()
    mel = LogMel(rate)(shown).T.numpy()
    axes.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, len(mel)))
    axes.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds), ylim=(0, 1.14 * len(mel)))
    for i, word in enumerate(word for word in words if word["end"] <= seconds):
        height = len(mel) * (1.035 if i % 2 == 0 else 1.085)  # one above the other, as short words are narrow
        axes.text((word["start"] + word["end"]) / 2, height, word["word"], ha="center", va="center", fontsize=8)
        for time in (word["start"], word["end"]):
            axes.vlines(time, 0, len(mel), color="white", linewidth=0.7, linestyle=":")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a script that no font here has is drawn as boxes
        figure.savefig(buffer, format="png", dpi=110)
    write_whole(path, lambda file: file.write(buffer.getvalue()))
    return path
