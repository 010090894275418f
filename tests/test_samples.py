from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.samples import ImageSample, TextSample, as_samples


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
