"""The worst errors as a page with pictures, for the eyes of those who have the data; it may not be shared."""

import html
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from pneumoscope.models import Bundle
from pneumoscope.results.report import data_uri
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.singleslice import network_picture, read_grey, to_hu_square

SIDE_PX = 320


def write_failures(bundle: Bundle, worst: list[dict[str, Any]], root: Path, *, to: Path) -> None:
    """Each slice beside the same with lungs (blue) and lesions (red) outlined."""
    network = LungLesionNetwork(bundle.onnx)
    figures = []
    for row in worst:
        hu = to_hu_square(read_grey(root / row["file"]))
        found = network(network_picture(hu)[None]).probability[0]
        grey = np.clip((hu + 1350) / 1500 * 255, 0, 255).astype(np.uint8)
        plain = np.repeat(np.asarray(Image.fromarray(grey).resize((SIDE_PX, SIDE_PX)))[..., None], 3, axis=2)
        marked = plain.copy()
        for channel, colour in ((0, (90, 200, 255)), (1, (255, 70, 70))):
            mask = np.asarray(Image.fromarray(found[channel]).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)) >= 128
            marked[mask & ~ndimage.binary_erosion(mask)] = colour
        words = f"{row['file']}: label {row['label']}, score {row['score']:.2f}, {row['share_percent']} % of lung"
        picture = data_uri(np.concatenate([plain, marked], axis=1))
        figures.append(f'<figure><img src="{picture}" alt=""><figcaption>{html.escape(words)}</figcaption></figure>')
    to.parent.mkdir(parents=True, exist_ok=True)
    style = "body{font:15px sans-serif;background:#111;color:#ddd;display:grid;grid-template-columns:1fr 1fr}img{width:100%}"
    page = f'<!doctype html><meta charset="utf-8"><title>Worst errors</title><style>{style}</style>{"".join(figures)}'
    to.write_text(page, encoding="utf-8")
