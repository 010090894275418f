"""Reading recordings against what was written: every format and rate, parts, and files that are broken."""

import os
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch

from zoo.audio import reading
from zoo.errors import BrokenSampleError

RATE = 16000


def chirp(rate: int, seconds: float = 3.0, top: float = 3000) -> np.ndarray:
    """[n] f32: a sine that rises from 100 Hz, so that a shift in time or a wrong rate shows."""
    t = np.arange(round(rate * seconds)) / rate
    return (0.4 * np.sin(2 * np.pi * (100 * t + (top - 100) * t * t / (2 * seconds)))).astype(np.float32)


def encoded(path: Path, codec: str, wave: np.ndarray, rate: int = 48000, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def error_of(read: Callable[[], Any]) -> str:
    with pytest.raises(BrokenSampleError) as caught:
        read()
    return str(caught.value)


def distance(found: np.ndarray, expected: np.ndarray, most_apart: int = 0) -> float:
    """Largest difference of the middles, in the best of the shifts up to so many frames."""
    n = min(len(found), len(expected)) - 2000
    return min(
        float(np.abs(found[1000 + shift : n + shift] - expected[1000:n]).max())
        for shift in range(-most_apart, most_apart + 1)
    )


# Formats --------------------------------------------------------------------------------------------------------

PCM = [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 1e-7), ("FLOAT", 0), ("DOUBLE", 0)]


@pytest.mark.parametrize(("subtype", "step"), PCM)
def test_a_wav_of_any_depth_has_the_samples_that_were_written(tmp_path: Path, subtype: str, step: float):
    soundfile.write(tmp_path / "a.wav", chirp(RATE), RATE, subtype=subtype)
    assert np.abs(reading.read(tmp_path / "a.wav", RATE) - chirp(RATE)).max() <= step


@pytest.mark.parametrize("name", ["a.flac", "a.aiff", "a.au", "a.caf", "a.w64"])
def test_other_lossless_formats_have_them_too(tmp_path: Path, name: str):
    soundfile.write(tmp_path / name, chirp(RATE), RATE)
    assert np.abs(reading.read(tmp_path / name, RATE) - chirp(RATE)).max() <= 2**-15


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mp3", {}), ("a.ogg", {}), ("a.opus", {"format": "OGG", "subtype": "OPUS"})]
)
def test_compressed_formats_sound_alike_and_are_in_time(tmp_path: Path, name: str, kind: dict[str, str]):
    soundfile.write(tmp_path / name, chirp(48000), 48000, **kind)
    found = reading.read(tmp_path / name, RATE)
    assert len(found) == 3 * RATE
    assert distance(found, chirp(RATE)) < 0.05


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mov", "aac"), ("a.webm", "libopus")]
)
def test_what_phones_and_browsers_record_is_read(tmp_path: Path, name: str, codec: str):
    path = encoded(tmp_path / name, codec, chirp(48000))
    found = reading.read(path, RATE)
    assert distance(found, chirp(RATE), most_apart=400) < 0.05  # an encoder may put 1024 samples of 48 kHz before
    assert reading.length(path) == pytest.approx(3, abs=0.05)


def test_what_a_browser_records_without_its_length_has_one(tmp_path: Path):
    path = encoded(tmp_path / "a.webm", "libopus", chirp(48000))
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88")  # Duration, eight bytes
    path.write_bytes(content[:at] + b"\xec\x89" + content[at + 2 :])  # the same, as an element without meaning
    with av.open(str(path)) as container:
        assert container.duration is None
    assert reading.length(path) == pytest.approx(3, abs=0.05)


def test_the_name_of_a_file_does_not_decide(tmp_path: Path):
    encoded(tmp_path / "a.m4a", "aac", chirp(48000)).rename(tmp_path / "a.mp3")
    soundfile.write(tmp_path / "b.flac", chirp(RATE), RATE)
    (tmp_path / "b.flac").rename(tmp_path / "b.wav")
    assert len(reading.read(tmp_path / "a.mp3", RATE)) == pytest.approx(3 * RATE, abs=800)
    assert len(reading.read(tmp_path / "b.wav", RATE)) == 3 * RATE


def test_bytes_a_path_and_a_call_give_the_same(tmp_path: Path):
    path = tmp_path / "आवाज़ १.flac"
    soundfile.write(path, chirp(RATE), RATE)
    of_path = reading.read(path, RATE)
    for audio in (str(path), path.read_bytes(), lambda: path, lambda: path.read_bytes()):
        assert np.array_equal(reading.read(audio, RATE), of_path)
        assert reading.length(audio) == 3.0


def test_a_name_with_bytes_that_are_no_text_is_read(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    with open(path, "wb") as file:
        soundfile.write(file, chirp(RATE), RATE, format="WAV")
    assert len(reading.read(path, RATE)) == 3 * RATE


# Channels and rates -----------------------------------------------------------------------------------------------


def test_channels_are_mixed_down_to_their_mean(tmp_path: Path):
    left, right = chirp(RATE), chirp(RATE, top=1000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    assert np.allclose(reading.read(tmp_path / "a.wav", RATE), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_any_rate_becomes_the_one_that_is_wanted(tmp_path: Path, rate: int):
    soundfile.write(tmp_path / "a.wav", chirp(rate), rate, subtype="FLOAT")
    found = reading.read(tmp_path / "a.wav", RATE)
    assert len(found) == 3 * RATE
    assert distance(found, chirp(RATE)) < 1e-3


def test_what_the_lower_rate_cannot_hold_is_gone(tmp_path: Path):
    t = np.arange(3 * 48000) / 48000
    soundfile.write(tmp_path / "a.wav", np.sin(2 * np.pi * 11000 * t), 48000, subtype="FLOAT")  # would become 5 kHz
    assert np.abs(reading.read(tmp_path / "a.wav", RATE)[1000:-1000]).max() < 1e-5


def test_a_waveform_is_resampled_from_its_own_rate():
    found = reading.read(chirp(8000, top=2000), RATE, source_rate=8000)
    assert distance(found, chirp(RATE, top=2000)) < 1e-3
    assert reading.length(chirp(8000), 8000) == 3.0


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float64])
def test_a_waveform_of_any_type_is_between_minus_one_and_one(kind: type):
    wave, info = chirp(RATE), np.iinfo(kind) if np.issubdtype(kind, np.integer) else None
    made = wave if info is None else np.rint(wave * (info.max - info.min) / 2 + (128 if kind is np.uint8 else 0))
    assert np.abs(reading.read(made.astype(kind), RATE) - wave).max() < 0.01


def test_a_tensor_is_a_waveform_too():
    assert np.array_equal(reading.read(torch.from_numpy(chirp(RATE)), RATE), chirp(RATE))


# Parts ----------------------------------------------------------------------------------------------------------

FORMATS = ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus", "a.m4a", "a.webm"]


def written(folder: Path, name: str, seconds: float, rate: int = 44100) -> Path:
    """Noise below 3 kHz, in which every part differs from every other."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * 8000)).astype(np.float32) * 0.1
    wave = reading.read(noise, 48000 if name in ("a.opus", "a.webm") else rate, source_rate=8000)
    rate = 48000 if name in ("a.opus", "a.webm") else rate
    if name in ("a.m4a", "a.webm"):
        return encoded(folder / name, "aac" if name == "a.m4a" else "libopus", wave, rate)
    soundfile.write(folder / name, wave, rate, **({"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}))
    return folder / name


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [44100, 16000])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.02, 0.5), (3.3, 4.7), (7.125, None)])
def test_a_part_has_the_samples_that_it_has_in_the_whole(
    tmp_path: Path, name: str, start: float, end: float | None, rate: int
):
    path = written(tmp_path, name, 8, rate)
    whole = reading.read(path, RATE)
    expected = whole[round(start * RATE) : None if end is None else round(end * RATE)]
    found = reading.read(path, RATE, start, end)
    unit = RATE // 1000 if name == "a.webm" else 0  # whose clock has milliseconds
    assert abs(len(found) - len(expected)) <= unit
    assert (distance(found, expected, unit) if unit else np.abs(found - expected).max()) < 2e-4


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_parts_of_an_mp3_are_read_without_a_word_on_the_screen(
    tmp_path: Path, rate: int, capfd: pytest.CaptureFixture[str]
):
    path = written(tmp_path, "a.mp3", 12, rate)
    whole = reading.read(path, RATE)
    for start in np.arange(0.1, 11, 0.7):
        part = reading.read(path, RATE, start, start + 0.5)
        assert np.abs(part - whole[round(start * RATE) : round((start + 0.5) * RATE)]).max() < 2e-4
    assert capfd.readouterr().err == ""


def test_only_the_part_that_is_needed_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, decoded = written(tmp_path, "a.wav", 60), []
    read = soundfile.SoundFile.read

    def counted(self: Any, frames: int = -1, **kwargs: Any) -> np.ndarray:
        decoded.append(frames)
        return read(self, frames, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    reading.read(path, RATE, 50, 51)
    assert sum(decoded) < 1.2 * 44100


def test_a_part_that_begins_before_the_recording_begins_with_it(tmp_path: Path):
    path = written(tmp_path, "a.wav", 2)
    assert np.array_equal(reading.read(path, RATE, -1, 0.5), reading.read(path, RATE, 0, 0.5))
    assert np.array_equal(reading.read(path, RATE, -1), reading.read(path, RATE))


def test_a_part_that_ends_beyond_the_recording_ends_with_it(tmp_path: Path):
    path = written(tmp_path, "a.wav", 2)
    assert len(reading.read(path, RATE, 1.5, 9)) == RATE // 2
    assert error_of(lambda: reading.read(path, RATE, 5, 9)) == "it has no sound after 5.0 s"


def test_the_sound_of_a_film_that_begins_later_is_in_time(tmp_path: Path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for i in range(50):
            image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            image.pts = i
            container.mux(video.encode(image))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray((chirp(RATE, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, RATE
        container.mux([*sound.encode(frame), *sound.encode(None)])
    found = reading.read(tmp_path / "a.mkv", RATE)
    assert reading.is_silent(found[: RATE - 100])
    assert np.abs(found[RATE:] - chirp(RATE, 1)).max() < 1e-3


# Broken ---------------------------------------------------------------------------------------------------------


def test_a_wav_that_was_cut_off_is_no_shorter_one(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", chirp(RATE), RATE)
    os.truncate(tmp_path / "a.wav", 44 + RATE * 2)
    said = "it is cut off: 1.0 s of the 3.0 s that its header promises"
    assert reading.header(tmp_path / "a.wav") == said
    assert error_of(lambda: reading.read(tmp_path / "a.wav", RATE, 0, 0.5)) == said
    assert error_of(lambda: reading.read((tmp_path / "a.wav").read_bytes(), RATE)) == said


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.m4a"])
def test_others_that_were_cut_off_are_found_by_their_header_or_when_they_are_read(tmp_path: Path, name: str):
    path = written(tmp_path, name, 8)
    os.truncate(path, path.stat().st_size // 2)
    assert error_of(lambda: reading.read(path, RATE))


def test_an_mp3_that_was_cut_off_is_found_by_its_header(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = written(tmp_path, "a.mp3", 8)
    tag = b"ID3\x04\0\0\0\0\x01\x48" + bytes(200)
    path.write_bytes(tag + path.read_bytes())
    assert reading.header(path) is None
    assert len(reading.read(path, RATE)) == 8 * RATE
    os.truncate(path, path.stat().st_size // 2)
    assert re.fullmatch(r"it is cut off: (49|50|51)% of what its header promises", reading.header(path) or "")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_whose_writer_did_not_know_its_length_is_read(tmp_path: Path, size: int):
    soundfile.write(tmp_path / "a.wav", chirp(RATE), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:40] + struct.pack("<I", size) + content[44:])
    assert len(reading.read(tmp_path / "a.wav", RATE)) == 3 * RATE


def test_odd_chunks_before_the_samples_do_not_matter(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", chirp(RATE), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + content[36:])
    assert reading.header(tmp_path / "a.wav") is None
    assert len(reading.read(tmp_path / "a.wav", RATE)) == 3 * RATE
    os.truncate(tmp_path / "a.wav", RATE)
    assert "cut off" in (reading.header(tmp_path / "a.wav") or "")


def test_a_film_that_was_cut_off_behind_its_index_is_found_when_it_is_read(tmp_path: Path):
    path = encoded(tmp_path / "a.m4a", "aac", chirp(48000, 8), movflags="faststart")
    assert len(reading.read(path, RATE)) == pytest.approx(8 * RATE, abs=800)
    with av.open(str(path)) as container:
        middle = [packet.pos for packet in container.demux() if packet.pos][100]
    os.truncate(path, middle)
    assert "cut off: 2.1 s of the 8.0 s" in error_of(lambda: reading.read(path, RATE))
    os.truncate(path, middle - 9)
    assert error_of(lambda: reading.read(path, RATE))


def test_a_file_cannot_have_other_files_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("secret.wav", chirp(RATE), RATE)
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile secret.wav\n")
    with av.open("list.wav") as container:  # as FFmpeg takes it
        assert container.streams.audio
    assert "no known format" in (reading.header(tmp_path / "list.wav") or "")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_no_number_is_named_by_its_time(tmp_path: Path, bad: float):
    wave = chirp(RATE)
    wave[RATE] = bad
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    assert error_of(lambda: reading.read(tmp_path / "a.wav", 8000)) == "it has NaN or infinity at 1.00 s"
    assert error_of(lambda: reading.read(tmp_path / "a.wav", 8000, 0.5, 2)) == "it has NaN or infinity at 1.00 s"


def test_a_silent_recording_is_read():
    assert reading.is_silent(reading.read(np.zeros(RATE, np.float32), RATE))
    assert not reading.is_silent(chirp(RATE))


def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("नमस्ते " * 100)
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), RATE)
    os.mkfifo(tmp_path / "pipe.wav")
    no_recording = "it is no recording, is damaged, or is of no known format"
    said = {
        name: reading.header(tmp_path / name) for name in ("empty.wav", "text.wav", "none.wav", "pipe.wav", "no.wav")
    }
    assert said == {
        "empty.wav": "it is empty",
        "text.wav": no_recording,
        "none.wav": "it has no sound in it",
        "pipe.wav": "it is not a regular file",
        "no.wav": "no such file",
    }
    assert reading.header(tmp_path) == "it is not a regular file"


def test_a_film_without_sound_has_none(tmp_path: Path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        container.mux([*stream.encode(image), *stream.encode(None)])
    assert reading.header(tmp_path / "a.mp4") == "it has no sound in it"


def test_a_waveform_of_two_dimensions_is_refused():
    assert "one dimension" in error_of(lambda: reading.read(np.zeros((2, RATE), np.float32), RATE))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a"])
def test_damage_is_a_broken_sample_and_never_another_error(tmp_path: Path, name: str, seed: int):
    path, random = written(tmp_path, name, 1), np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for _ in range(20):
        content[random.integers(min(len(content), 400 if seed % 2 else len(content)))] = random.integers(256)
    with suppress(BrokenSampleError):
        assert np.isfinite(reading.read(bytes(content), RATE)).all()
