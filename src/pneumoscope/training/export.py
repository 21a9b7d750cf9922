"""From a checkpoint to the ONNX file that the product runs."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from pneumoscope.segmentation.grid import NETWORK_SIZE_PX
from pneumoscope.training.network import LungLesionNet


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, evidence = self.network(image)
        return torch.sigmoid(logits), evidence


def onnx_bytes(checkpoint: Path) -> bytes:
    """The network of a checkpoint as ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(checkpoint, to=Path(folder) / "network.onnx")
        return (Path(folder) / "network.onnx").read_bytes()


def export_onnx(checkpoint: Path, *, to: Path) -> None:
    """Write the network with its sigmoid, for batches of any size.

    ``image`` (batch, 1, s, s) to ``probability`` (batch, 2, s, s) and ``evidence`` (batch, s/8, s/8).
    """
    network = LungLesionNet(pretrained=False)
    network.load_state_dict(torch.load(checkpoint, map_location="cpu")["network"])
    torch.onnx.export(
        _Probabilities(network).eval(),
        (torch.zeros(2, 1, NETWORK_SIZE_PX, NETWORK_SIZE_PX),),
        str(to),
        input_names=["image"],
        output_names=["probability", "evidence"],
        dynamic_axes={name: {0: "batch"} for name in ("image", "probability", "evidence")},
        opset_version=17,
        dynamo=False,
    )
