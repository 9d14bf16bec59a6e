import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

from nightforge import pictures
from nightforge.augment.rotate import Config, vary
from tests.media_samples import encoded, record


def test_corners_have_the_colour_of_the_border(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 3), (10, 200, 30), np.uint8)
    pixels[10:22, 14:18] = 255
    given = record(encoded(pixels), "image/png")
    for made in vary(given, Config(tries=10, degrees_max=45), random.Random(1), tmp_path):
        turned = pictures.pixels(made.content or b"")
        assert turned[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [[10, 200, 30]] * 4
        assert abs(made.meta["edits"][0]["rotate_degrees"]) <= 45


def test_the_angle_is_the_one_told(tmp_path: Path) -> None:
    """The long axis of a bar turns by so many degrees, counter-clockwise."""
    pixels = np.zeros((65, 65, 3), np.uint8)
    pixels[31:34, 8:57] = 255
    made = next(vary(record(encoded(pixels), "image/png"), Config(tries=1, degrees_max=40), random.Random(2), tmp_path))
    y, x = np.nonzero(pictures.grey(pictures.pixels(made.content or b"")) > 128)
    axis = np.linalg.eigh(np.cov(x, -y))[1][:, 1]
    degrees = np.degrees(np.arctan2(axis[1], axis[0])) % 180
    assert abs(degrees - made.meta["edits"][0]["rotate_degrees"] % 180) < 1


def test_transparency_stays(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (16, 16), (255, 0, 0, 255)).save(out, "PNG")
    made = next(vary(record(out.getvalue(), "image/png"), Config(tries=1, degrees_max=40), random.Random(2), tmp_path))
    turned = pictures.opened(made.content or b"")
    assert turned.mode == "RGBA" and turned.getpixel((0, 0)) == (0, 0, 0, 0)
