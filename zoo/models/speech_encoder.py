"""A small encoder for speech recognition from scratch: log-mels to symbols, by convolutions alone.

B samples · T frames of log-mels · M mel bands · F frames of the network · D width · V symbols
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from zoo.constraints import PositiveInt, checked

_STRIDES, _KERNEL = (2, 2), 5
STEP = 4
"""Frames of log-mels for one of the network."""


@checked
@dataclass(frozen=True)
class SpeechEncoderConfig:
    """The sizes of a `SpeechProcessor`.

    Args:
        width: D.
        layers: blocks.
        kernel: frames that a block looks at, an odd number; 15 of them are 0.6 seconds.
        mels: M.
        rate: of the recordings, in Hz.
    """

    width: PositiveInt = 144
    layers: PositiveInt = 4
    kernel: PositiveInt = 15
    mels: PositiveInt = 80
    rate: PositiveInt = 16_000


class SpeechProcessor(nn.Module):
    """Two convolutions that leave every fourth frame, then blocks of a depthwise convolution and a feed-forward layer.

    What stands after the end of a sample is zero before every convolution, as it is for the sample alone: padding
    changes nothing, whatever the batch. No layer shares statistics between samples or frames.

    Source: the convolution and feed-forward modules of Conformer (Gulati et al. 2020), without attention.
    """

    def __init__(self, config: SpeechEncoderConfig, num_symbols: int, dropout: float = 0.0):
        super().__init__()
        width = config.width
        channels = [config.mels, width]
        self.subsample = nn.ModuleList(
            nn.Conv1d(c, width, _KERNEL, stride, _KERNEL // 2) for c, stride in zip(channels, _STRIDES, strict=True)
        )
        self.blocks = nn.ModuleList(_Block(width, config.kernel, dropout) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_symbols)
        self.checkpointing = False

    def forward(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, F, V], and how many frames of each sample are real, [B].

        Args:
            features: [B, T, M], whatever stands after the end of a sample.
            length: [B], frames that are real.
        """
        x = features.transpose(1, 2) * _real(features.shape[1], length)  # [B, M, T]
        for layer in self.subsample:
            length = (length - 1) // 2 + 1
            x = F.gelu(layer(x))
            x = x * _real(x.shape[2], length)
        x = x.transpose(1, 2)  # [B, F, D]
        real = _real(x.shape[1], length).transpose(1, 2)
        for block in self.blocks:
            again = self.checkpointing and self.training
            x = checkpoint(block, x, real, use_reentrant=False) if again else block(x, real)
        return self.head(self.norm(x)), length


def frames(features: int) -> int:
    """F of so many frames of log-mels."""
    for _ in _STRIDES:
        features = (features - 1) // 2 + 1
    return features


def _real(size: int, length: Tensor) -> Tensor:
    """[B, 1, size] bool: whether a frame is real."""
    return (torch.arange(size, device=length.device) < length[:, None])[:, None]


class _Block(nn.Module):
    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            *(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout)),
            *(nn.Linear(2 * width, width), nn.Dropout(dropout)),
        )

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """[B, F, D] to [B, F, D].

        Args:
            real: [B, F, 1] bool.
        """
        gated = F.glu(self.gate(self.norm(x)), dim=-1) * real
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        x = x + self.out(F.silu(mixed))
        return x + self.feed_forward(x)
