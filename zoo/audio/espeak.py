"""espeak-ng in a process of its own: `python -m zoo.audio.espeak` speaks what it is told on its standard input.

Its library remembers what it has spoken, so that only a new process begins with the same sounds.
"""

import ctypes
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.errors import DataError

_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_SETTINGS = {"words_per_minute": 1, "pitch": 3, "spread": 4}
"""Numbers of its speak_lib.h."""


def spoken(utterances: Sequence[Mapping[str, Any]]) -> tuple[list[np.ndarray], int]:
    """[n] int16 of each utterance, the same each time; and their rate in Hz.

    Args:
        utterances: each with text, voice (a file of lang/, and one of voices/!v after a +: gmw/en-US+Andrea), pitch
            (0 to 100), spread of the pitch (0 to 100), and words_per_minute.

    Raises:
        DataError: it does not run here, or has no such voice.
    """
    command = [sys.executable, "-m", "zoo.audio.espeak"]
    done = subprocess.run(command, input=json.dumps(utterances).encode(), capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise DataError(f"espeak-ng does not speak here: {said[-1]}")
    file = io.BytesIO(done.stdout)
    rate = int(np.load(file))
    return [np.load(file) for _ in utterances], rate


def main() -> None:
    import espeakng_loader

    library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _DONT_EXIT)
    if rate <= 0:
        sys.exit(f"it does not start with its data in {espeakng_loader.get_data_path()}.")
    parts: list[np.ndarray] = []

    def heard(wave: Any, count: int, events: Any) -> int:
        if count > 0 and wave:
            parts.append(np.ctypeslib.as_array(wave, (count,)).copy())
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = kind(heard)  # kept, as the library calls it
    library.espeak_SetSynthCallback(callback)
    np.save(sys.stdout.buffer, np.int64(rate))
    for utterance in json.load(sys.stdin):
        parts.clear()
        if library.espeak_SetVoiceByName(utterance["voice"].encode()) != 0:
            sys.exit(f"it has no voice {utterance['voice']}.")
        for name, number in _SETTINGS.items():
            library.espeak_SetParameter(number, utterance[name], 0)
        said = utterance["text"].encode()
        library.espeak_Synth(said, ctypes.c_size_t(len(said) + 1), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        np.save(sys.stdout.buffer, np.concatenate([np.zeros(0, np.int16), *parts]))


if __name__ == "__main__":
    main()
