"""From the network's picture to a slice."""

import numpy as np

from pneumoscope.geometry import AxialView
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, NetworkGrid


def test_a_part_of_a_slice_is_what_the_whole_slice_has_there() -> None:
    chance = np.random.default_rng(0)
    for shape_px in ((512, 512), (361, 288), (768, 600)):
        scaled_px = tuple(round(n * 0.31) for n in shape_px)
        grid = NetworkGrid(
            view=AxialView.from_orientation((1, 0, 0, 0, 1, 0)), shape_px=shape_px, scaled_px=scaled_px, offset_px=(5, -7)
        )
        picture = (chance.random((NETWORK_SIZE_PX, NETWORK_SIZE_PX)) * 255).astype(np.uint8)
        whole = grid.to_slice(picture, smooth=True).astype(int)
        for part in (np.s_[31:203, 77:251], np.s_[0 : shape_px[0], 0 : shape_px[1]]):
            assert np.abs(grid.to_slice(picture, smooth=True, part=part) - whole[part]).max() <= 1  # of 255, by rounding
