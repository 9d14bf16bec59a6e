import io

import numpy as np
import pytest
from PIL import Image

from nightforge.errors import DataError
from nightforge.media.image import Config, array, render, shape
from tests.media_samples import encoded, png, record


def of(picture: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def read(content: bytes, side: int = 4, mode: str = "RGB", background: int = 255) -> np.ndarray:
    cfg = Config.model_validate({"side": side, "mode": mode, "background": background})
    made = array(record(content, "image/png"), cfg)
    assert made.shape == shape(cfg) and made.dtype == np.float32
    return made


def test_channels_height_width_and_range() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1, 2] = (255, 128, 0)
    made = read(encoded(pixels))
    assert made[:, 1, 2].tolist() == [1.0, pytest.approx(128 / 127.5 - 1, abs=1e-6), -1.0]
    assert made[:, 0, 0].tolist() == [-1, -1, -1]
    np.testing.assert_allclose(
        read(encoded(pixels), mode="L")[0, 1, 2], (0.299 * 255 + 0.587 * 128) / 127.5 - 1, atol=0.01
    )


@pytest.mark.parametrize("background", [0, 128, 255])
def test_transparency_shows_the_background(background: int) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.allclose(read(of(clear), background=background), background / 127.5 - 1, atol=1e-6)
    palette = clear.convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert np.allclose(read(of(palette, "GIF"), background=background), background / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_picture_of_another_mode_is_brought_to_the_models(mode: str) -> None:
    grey = Image.fromarray(np.full((6, 5), 200, np.uint8))
    if mode == "I;16":
        picture, kind = Image.fromarray(np.full((6, 5), 200 * 257, np.uint16)), "PNG"
    else:
        picture, kind = grey.point(lambda v: 255 * (v > 99)).convert("1") if mode == "1" else grey.convert(mode), "PNG"
    if mode == "CMYK":
        kind = "JPEG"
    expected = 1.0 if mode == "1" else 200 / 127.5 - 1
    np.testing.assert_allclose(read(of(picture, kind), mode="L"), expected, atol=0.03)


def test_what_is_no_picture_is_named() -> None:
    for content in (b"", b"hello", png(1)[:-60]):
        with pytest.raises(DataError, match=r"record \w+ \(t#1\): expected a picture"):
            read(content)


def test_values_beyond_the_range_are_cut() -> None:
    cfg = Config(side=4, mode="L", background=255)
    content = render(np.full((1, 4, 4), 3, np.float32), cfg)
    assert np.asarray(Image.open(io.BytesIO(content))).tolist() == [[255] * 4] * 4
