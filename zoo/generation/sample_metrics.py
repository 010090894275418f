"""How much generated images are like real ones, and like each other, by the features of a network.

N images · D features of each · C classes
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from zoo import streams


class Features(NamedTuple):
    """What a feature network has read in images.

    Args:
        values: [N, D].
        labels: [N] int64, the class that each image has or was asked for.
        seen: [N] int64, the class that the network sees.
        number: of each in its split, where images that cannot be read are counted too.
    """

    values: Tensor
    labels: Tensor
    seen: Tensor
    number: list[int]


_SUBSETS, _SUBSET = 100, 1000
"""Of the kernel distance, as torchmetrics and the paper have them."""
_PER_CLASS = 200


def compared(train: Features, test: Features, made: Features, has_classes: bool) -> dict[str, float]:
    """Generated images held against the training data, and so is the test data: no generator can do better.

    Args:
        has_classes: whether the network sees classes, and the images are of some.
    """
    found = {
        "fid": frechet(train.values, made.values),
        "fid_of_test_data": frechet(train.values, test.values),
        "kid": kernel(train.values, made.values),
        "kid_of_test_data": kernel(train.values, test.values),
    }
    if has_classes:
        found |= {
            "accuracy_by_judge": float((made.seen == made.labels).double().mean()),
            "accuracy_of_test_data": float((test.seen == test.labels).double().mean()),
            "diversity": diversity(made.values, made.labels),
            "diversity_of_test_data": diversity(test.values, test.labels),
        }
    return found


def frechet(real: Tensor, made: Tensor) -> float:
    """FID: the distance of two normal distributions with the means and covariances of these features; 0 for the same.

    Args:
        real: [N, D].
        made: [N', D]. It falls as N' grows, so that only distances over as many images can be compared.

    Source: Heusel et al. 2017.
    """
    metric = FrechetInceptionDistance(feature=_given(real))
    metric.update(real, real=True)
    metric.update(made, real=False)
    return float(metric.compute())


def kernel(real: Tensor, made: Tensor) -> float:
    """KID: the squared difference of means in a polynomial kernel's space, over random subsets; 0 is expected for the
    same distribution, whatever N.

    Source: Bińkowski et al. 2018.
    """
    size = min(_SUBSET, len(real), len(made))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it keeps the features, which are there anyway
        metric = KernelInceptionDistance(feature=_given(real), subsets=_SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(made, real=False)
    with streams.seeded("subsets of the kernel distance"):
        return float(metric.compute()[0])


class _Given(nn.Module):
    """Stands where torchmetrics has its network: the features are there already."""

    def __init__(self, count: int):
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def _given(features: Tensor) -> nn.Module:
    return _Given(features.shape[1])


def diversity(features: Tensor, labels: Tensor) -> float:
    """Mean distance of two images of one class. Below that of real images, samples look alike.

    Args:
        features: [N, D].
        labels: [N] int64. Of each class, the first 200 count.
    """
    distances = []
    for label in labels.unique():
        of_class = features[labels == label][:_PER_CLASS]
        if len(of_class) > 1:
            distances.append(torch.pdist(of_class.double()).mean())
    return float(torch.stack(distances).mean()) if distances else 0.0


def nearest(made: Tensor, real: Tensor, count: int) -> Tensor:
    """[N', count] int64: which real images each is most like, the nearest first.

    Args:
        made: [N', D].
        real: [N, D].
    """
    distances = torch.cdist(made.float(), real.float())
    return distances.topk(min(count, len(real)), largest=False).indices
