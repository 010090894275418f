import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from zoo.errors import ConfigError
from zoo.images import augment
from zoo.images.augment import Augmentation
from zoo.images.preprocessing import Preprocessing, fit

WANTED = Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bilinear")
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8))
EVERYTHING = Augmentation(policy="randaugment", random_erasing=0.5)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
def test_a_variation_is_a_function_of_its_stream_and_nothing_else(policy: augment.Policy):
    vary = augment.Variation(Augmentation(policy=policy, random_erasing=0.5), WANTED)
    torch.manual_seed(1)
    first, state = vary(NOISE, stream()), torch.random.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, vary(NOISE, stream()))
    assert not torch.equal(first, vary(NOISE, stream(1)))
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("size", [(40, 30), (100, 100), (10, 16), (300, 10)])
def test_random_boxes_are_distributed_as_torchvisions(size: tuple[int, int]):
    """By means and deviations of left, top, width and height; the last size leaves only the middle."""
    theirs = v2.RandomResizedCrop(8, (0.2, 1), (0.5, 2))
    torch.manual_seed(0)
    drawn = [theirs.make_params([torch.empty(3, size[1], size[0])]) for _ in range(2000)]
    expected = torch.tensor([[box[side] for side in ("left", "top", "width", "height")] for box in drawn]).float()
    boxes = torch.tensor([augment.random_box(size, 0.2, 2, stream(seed)) for seed in range(2000)]).float()
    ours = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    tolerance = 0.1 * expected.std(0) + 1e-6
    assert ((ours.mean(0) - expected.mean(0)).abs() <= tolerance).all()
    assert ((ours.std(0) - expected.std(0)).abs() <= tolerance).all()


def test_without_any_variation_training_sees_what_evaluation_sees():
    plain = augment.Variation(Augmentation(scale=1, hflip=0), WANTED)
    assert torch.equal(plain(NOISE, stream()), fit(NOISE, WANTED))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_crop_is_resized_as_the_network_wants_it(mode: str):
    """Reference: Pillow, of the same part of the image."""
    vary = augment.Variation(Augmentation(scale=0.3, hflip=0), Preprocessing(16, (0.5,) * 3, (0.5,) * 3, mode))
    box = augment.random_box(NOISE.size, 0.3, 4 / 3, stream())
    expected = NOISE.resize((16, 16), Image.Resampling[mode.upper()], box)
    assert torch.equal(vary(NOISE, stream()), torch.from_numpy(np.array(expected)).permute(2, 0, 1))


def test_padding_moves_the_image_over_black():
    vary, square = augment.Variation(Augmentation(padding=4, hflip=0), WANTED), fit(NOISE, WANTED)
    padded = torch.nn.functional.pad(square, (4, 4, 4, 4))
    places = {
        (x, y): padded[:, y : y + 16, x : x + 16].numpy().tobytes() for x in range(9) for y in range(9)
    }  # every place that it may be moved to
    moved = {vary(NOISE, stream(seed)).numpy().tobytes() for seed in range(600)}
    assert moved == set(places.values())


def test_half_of_the_images_are_turned_over():
    vary, square = augment.Variation(Augmentation(scale=1, hflip=0.5), WANTED), fit(NOISE, WANTED)
    seen = [vary(NOISE, stream(seed)) for seed in range(400)]
    turned = sum(torch.equal(image, square.flip(-1)) for image in seen)
    assert turned + sum(torch.equal(image, square) for image in seen) == 400
    assert 160 < turned < 240


def test_evaluation_sees_what_timm_shows_its_networks():
    """Reference: timm's own evaluation transform."""
    from timm.data import create_transform

    wanted = Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bicubic", crop=0.8)
    reference = create_transform((3, 16, 16), interpolation="bicubic", crop_pct=0.8, mean=(0.5,) * 3, std=(0.5,) * 3)
    ours = (fit(NOISE, wanted) / 255 - 0.5) / 0.5
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
    with pytest.raises(ConfigError, match="hflip is 2"):
        Augmentation(hflip=2)
