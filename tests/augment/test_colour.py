import random
from pathlib import Path

import numpy as np
import pytest

from nightforge import pictures
from nightforge.augment.colour import Config, vary
from tests.media_samples import encoded, picture, record


def test_brightness_is_multiplied(tmp_path: Path) -> None:
    given = record(encoded(np.full((4, 4, 3), 100, np.uint8)), "image/png")
    for made in vary(given, Config(tries=9, brightness=0.5, contrast=0, saturation=0), random.Random(1), tmp_path):
        factor = made.meta["edits"][0]["brightness"]
        assert 0.5 <= factor <= 1.5
        assert pictures.pixels(made.content or b"").mean() == pytest.approx(100 * factor, abs=1)


def test_saturation_leaves_grey_and_brightness_alone(tmp_path: Path) -> None:
    grey = record(encoded(np.full((4, 4, 3), 100, np.uint8)), "image/png")
    cfg = Config(tries=2, brightness=0, contrast=0, saturation=1)
    for made in vary(grey, cfg, random.Random(1), tmp_path):
        assert (pictures.pixels(made.content or b"") == 100).all()
    coloured = pictures.grey(pictures.pixels(picture(3).content or b"")).mean()
    for made in vary(picture(3), cfg, random.Random(1), tmp_path):
        assert pictures.grey(pictures.pixels(made.content or b"")).mean() == pytest.approx(coloured, abs=25)
