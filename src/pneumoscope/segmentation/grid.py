"""The picture that the network sees: one scale of intensity, one size of pixel, one orientation."""

import numpy as np
from numpy.typing import NDArray

#: Side of the network's picture and its pixel: 192 x 2 mm covers 384 mm, wider than any pair of lungs.
NETWORK_SIZE_PX = 192
NETWORK_PIXEL_MM = 2.0
#: HU that map to 0 and 1: from below air to above muscle and contrast-free blood; bone and metal saturate.
WINDOW_HU = (-1050.0, 250.0)


def scale_hu(hu: NDArray[np.floating] | NDArray[np.int16]) -> NDArray[np.float32]:
    """HU to 0..1, clipped at the window's ends."""
    low, high = WINDOW_HU
    return np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
