"""The demo's network: small enough to ship its weights and to train on one core in minutes."""

from __future__ import annotations

from torch import Tensor, nn

_WIDTHS = (16, 32, 64, 96, 128)


class SmallCNN(nn.Module):
    """Five 3 x 3 convolutions, global average pooling and a linear head; made for inputs of 112 px.

    ``forward`` maps images float32 ``(N, in_channels, H, W)`` with sides of at least 16 px to class scores
    ``(N, num_classes)``, before any softmax or sigmoid.

    Args:
        num_classes: length of the score vector.
        in_channels: channels of the images.
    """

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip((in_channels, *_WIDTHS), _WIDTHS, strict=False)):
            layers += [
                nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            if index < len(_WIDTHS) - 1:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(_WIDTHS[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.features(images))
        scores: Tensor = self.head(pooled.flatten(1))
        return scores
