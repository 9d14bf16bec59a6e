import numpy as np
import pytest
from PIL import Image

from nightforge.clean.image_duplicates import SAMPLE, Config, select, signature
from nightforge.signatures import Held
from nightforge.view import View
from tests.digits import records
from tests.media_samples import encoded, png, record, scene


def dropped(contents: list[bytes], cfg: Config = SAMPLE) -> dict[int, str]:
    rows = [record(content, "image/png", str(at)) for at, content in enumerate(contents)]
    signed = Held([(str(at), signature(View(row), cfg)) for at, row in enumerate(rows)])
    return {at: f"{why.reason} {why.evidence}" for at, why in select(signed, cfg)}


def test_the_same_pixels_in_another_file_are_the_same_picture() -> None:
    again = encoded(scene(1), compress_level=0)
    assert again != png(1)
    assert dropped([png(1), png(2), again]) == {2: "exact_duplicate of 0"}


def test_planted_near_duplicates_are_found_and_others_are_left() -> None:
    """Recall and precision over 150 pictures, each also in another size, as JPEG, and a little lighter."""
    originals = [scene(seed, 64) for seed in range(150)]
    planted: list[bytes] = []
    for pixels in originals:
        smaller = np.asarray(Image.fromarray(pixels).resize((48, 48), Image.Resampling.LANCZOS))
        lighter = np.clip(pixels.astype(int) + 4, 0, 255).astype(np.uint8)
        planted += [encoded(smaller), encoded(pixels, "JPEG", quality=70), encoded(lighter)]
    found = dropped([*map(encoded, originals), *planted])
    wrong = [at for at in found if at < len(originals)]
    right = [at for at in found if at >= len(originals) and found[at].endswith(f" {(at - len(originals)) // 3}")]
    assert len(wrong) == 0, f"different pictures were taken for one: {wrong}"
    assert len(right) >= 0.97 * len(planted), f"found {len(right)} of {len(planted)}"


def test_one_outline_in_two_colours_is_two_pictures() -> None:
    red, blue = np.full((32, 32, 3), 255, np.uint8), np.full((32, 32, 3), 255, np.uint8)
    red[8:24, 8:24], blue[8:24, 8:24] = (220, 30, 30), (30, 30, 220)
    assert dropped([encoded(red), encoded(blue)]) == {}
    assert dropped([encoded(red), encoded(blue)], Config(bits_max=4, difference_max=1.0)) == {1: "looks_alike of 0"}


@pytest.mark.parametrize("bits_max", [0, 1, 5, 16])
def test_bands_find_what_comparing_all_pairs_finds(bits_max: int) -> None:
    contents = [r.content or b"" for r in records(300)]
    cfg = Config(bits_max=bits_max, difference_max=0.06)
    looks = [signature(View(record(c, "image/png")), cfg)[16:] for c in contents]
    bits = [int.from_bytes(one[:8], "big") for one in looks]
    thumbs = np.array([list(one[8:]) for one in looks], int)
    kept: list[int] = []
    for at in range(len(contents)):
        near = [k for k in kept if (bits[at] ^ bits[k]).bit_count() <= bits_max]
        if not any(np.abs(thumbs[at] - thumbs[k]).mean() / 255 <= cfg.difference_max for k in near):
            kept.append(at)
    assert sorted(set(range(len(contents))) - set(kept)) == sorted(dropped(contents, cfg))


def test_what_is_no_picture_is_compared_by_its_bytes() -> None:
    rows = [record(b, "audio/wav", text=t) for b, t in [(b"a", ""), (b"b", ""), (b"a", "")]]
    signed = Held([(str(at), signature(View(row), SAMPLE)) for at, row in enumerate(rows)])
    assert [at for at, _ in select(signed, SAMPLE)] == [2]
