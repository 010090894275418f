import numpy as np
import pytest
import torch
from PIL import Image

from zoo.errors import ConfigError
from zoo.pictures import augment
from zoo.pictures.augment import Augmentation, Preprocessing

WANTED = Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bilinear")
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8))
EVERYTHING = Augmentation(policy="rand", erase=0.5)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("policy", ["rand", "trivial"])
def test_a_variation_is_a_function_of_its_stream_and_nothing_else(policy: augment.Policy):
    vary = augment.Variation(Augmentation(policy=policy, erase=0.5), WANTED)
    torch.manual_seed(1)
    first, state = vary(NOISE, stream()), torch.random.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, vary(NOISE, stream()))
    assert not torch.equal(first, vary(NOISE, stream(1)))
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())


def test_evaluation_sees_what_timm_shows_its_networks():
    """Reference: timm's own evaluation transform."""
    from timm.data import create_transform

    wanted = Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bicubic", crop=0.8)
    reference = create_transform((3, 16, 16), interpolation="bicubic", crop_pct=0.8, mean=(0.5,) * 3, std=(0.5,) * 3)
    ours = (augment.fit(NOISE, wanted) / 255 - 0.5) / 0.5
    assert torch.allclose(ours, reference(NOISE), atol=1e-6)


def test_mixup_blends_pairs_by_the_share_it_returns():
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=stream())
    mixed, partner, share = augment.mix(images, Augmentation(mixup=0.4), stream())
    expected = share[:, None, None, None] * images + (1 - share[:, None, None, None]) * images[partner]
    assert (mixed - expected).abs().max() <= 0.5 + 1e-4
    assert sorted(partner.tolist()) == list(range(6))


def test_cutmix_takes_the_share_of_pixels_that_it_returns():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 16, 16)
    for seed in range(20):
        mixed, partner, share = augment.mix(images, Augmentation(cutmix=1.0), stream(seed))
        own = (mixed == torch.arange(6).view(6, 1, 1, 1)).float().mean((1, 2, 3))
        other = partner != torch.arange(6)
        assert torch.allclose(own[other], share[other])


def test_the_shares_are_those_of_the_beta_distribution():
    shares = torch.tensor([augment._beta(0.5, stream(seed)) for seed in range(2000)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / (4 * (2 * 0.5 + 1)), abs=0.01)


def test_an_impossible_setting_is_refused():
    with pytest.raises(ConfigError, match="flip is 2"):
        Augmentation(flip=2)
