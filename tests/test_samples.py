from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.errors import BrokenSampleError, DataError
from zoo.samples import ImageSample, Item, Processor, TextSample, as_samples, encoded


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        ("The fox", TextSample),
        (TextSample("The fox"), TextSample),
        (Path("fox.png"), ImageSample),
        ("fox.png", ImageSample),
        (b"bytes of a file", ImageSample),
        (np.zeros((8, 8), np.uint8), ImageSample),
        (torch.zeros(8, 8), ImageSample),
        (Image.new("RGB", (8, 8)), ImageSample),
        ({"a": 1}, dict),
        ((1, 2), tuple),
    ],
)
def test_one_input_is_one_sample_and_a_list_stays_a_list(one: Any, kind: type):
    assert len(as_samples(one, kind)) == 1
    assert len(as_samples([one, one], kind)) == 2
    assert all(isinstance(sample, kind) for sample in as_samples([one], kind))
    assert as_samples([], kind) == []


class Numbers(Processor):
    def encode(self, samples: Sequence[Any]) -> list[Item]:
        for sample in samples:
            if not sample.text.isdecimal():
                raise BrokenSampleError("it is no number")
        return [{"number": int(sample.text)} for sample in samples]


def test_an_input_that_cannot_be_read_is_named():
    texts = [TextSample(text) for text in ("1", "two", "3")]
    with pytest.raises(
        DataError, match=r"^Input 2 of 3 cannot be read \(TextSample\(text='two'.*\): it is no number\.$"
    ):
        encoded(Numbers(), texts)
    with pytest.raises(DataError, match=r"^The input cannot be read"):
        encoded(Numbers(), texts[1:2])
    assert encoded(Numbers(), texts[::2]) == [{"number": 1}, {"number": 3}]
