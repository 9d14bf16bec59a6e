import random
from pathlib import Path

import numpy as np

from nightforge import pictures
from nightforge.augment.flip import Config, vary
from tests.media_samples import encoded, picture, record, scene


def test_left_and_right_change_sides(tmp_path: Path) -> None:
    (made, *_) = vary(picture(3), Config(tries=1, axis="left_right"), random.Random(1), tmp_path)
    np.testing.assert_array_equal(pictures.pixels(made.content or b""), scene(3)[:, ::-1])
    assert made.meta["edits"] == [{"part": "content", "flip": "left_right"}]
    (made, *_) = vary(picture(3), Config(tries=1, axis="top_bottom"), random.Random(1), tmp_path)
    np.testing.assert_array_equal(pictures.pixels(made.content or b""), scene(3)[::-1])


def test_either_is_drawn_and_a_symmetric_picture_has_no_variant(tmp_path: Path) -> None:
    made = vary(picture(3), Config(tries=20, axis="either"), random.Random(1), tmp_path)
    assert {one.meta["edits"][0]["flip"] for one in made} == {"left_right", "top_bottom"}
    same = np.full((8, 8, 3), 9, np.uint8)
    content = pictures.png(pictures.opened(encoded(same)))
    assert list(vary(record(content, "image/png"), Config(tries=2, axis="either"), random.Random(1), tmp_path)) == []
