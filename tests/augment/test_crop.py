import random
from pathlib import Path

import numpy as np
from PIL import Image

from nightforge import pictures
from nightforge.augment.crop import Config, vary
from tests.media_samples import picture, scene


def test_the_rest_is_enlarged_to_the_size_it_had(tmp_path: Path) -> None:
    for made in vary(picture(3), Config(tries=30, share_max=0.25), random.Random(1), tmp_path):
        left, top, right, bottom = made.meta["edits"][0]["crop_px"]
        assert min(left, top, right, bottom) >= 0 and max(left, top, right, bottom) <= 8
        cut = Image.fromarray(scene(3)[top : 32 - bottom, left : 32 - right])
        far = np.abs(
            np.asarray(cut.resize((32, 32), Image.Resampling.BICUBIC), int) - pictures.pixels(made.content or b"")
        )
        assert far.mean() < 3


def test_pictures_too_small_to_be_cut_have_no_variant(tmp_path: Path) -> None:
    assert list(vary(picture(3), Config(tries=5, share_max=0.03), random.Random(1), tmp_path)) == []
