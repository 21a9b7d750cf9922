"""From a checkpoint to the ONNX file that the product runs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from pneumoscope.segmentation.grid import NETWORK_SIZE_PX
from pneumoscope.training.network import LungLesionNet


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image))


def export_onnx(checkpoint: Path, *, to: Path) -> None:
    """Write the network with its sigmoid: ``image`` (batch, 1, s, s) to ``probability`` (batch, 2, s, s), batch of any size."""
    network = LungLesionNet(pretrained=False)
    network.load_state_dict(torch.load(checkpoint, map_location="cpu")["network"])
    torch.onnx.export(
        _Probabilities(network).eval(),
        (torch.zeros(2, 1, NETWORK_SIZE_PX, NETWORK_SIZE_PX),),
        str(to),
        input_names=["image"],
        output_names=["probability"],
        dynamic_axes={"image": {0: "batch"}, "probability": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
