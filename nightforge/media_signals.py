"""Numbers that stand for pictures and sounds: what a gate looks at of them. A batch of texts costs nothing here."""

from typing import TYPE_CHECKING

import numpy as np

from nightforge import pictures, sounds

if TYPE_CHECKING:
    import polars as pl

PICTURE = {
    "width_px": "Int32",
    "height_px": "Int32",
    "brightness": "Float32",  # mean, 0 black … 1 white, on white
    "contrast": "Float32",  # standard deviation of the brightness of the pixels, 0 … 0.5
    "colourfulness": "Float32",  # mean distance of the largest and the smallest of red, green and blue, 0 … 1
}
SOUND = {
    "seconds": "Float32",
    "rate_hz": "Int32",
    "loudness_db": "Float32",  # root mean square, dB of full scale
    "peak": "Float32",  # largest sample, 0 … 1 of full scale
}
COLUMNS = PICTURE | SOUND | {"undecodable": "Int8"}  # 1: neither a picture nor a sound, though its media type says so
NUMBERS = ["brightness", "contrast", "colourfulness", "seconds", "loudness_db"]
"""Those of which drift is measured."""


def of(media_types: "pl.Series", contents: "pl.Series") -> "pl.DataFrame":
    """The signals of pictures and sounds: the columns `COLUMNS`, empty for other rows; or no columns."""
    import polars as pl

    if not any(kind.startswith(("image/", "audio/")) for kind in media_types.unique()):
        return pl.DataFrame()
    rows = [_signals(*row) for row in zip(media_types, contents, strict=True)]
    return pl.DataFrame(rows, schema={name: getattr(pl, kind) for name, kind in COLUMNS.items()})


def _signals(media_type: str, content: bytes) -> dict[str, float | int]:
    try:
        if media_type.startswith("image/"):
            return _of_picture(pictures.pixels(content)) | {"undecodable": 0}
        if media_type.startswith("audio/"):
            return _of_sound(sounds.decoded(content)) | {"undecodable": 0}
    except (pictures.NotAPicture, sounds.NotASound):
        return {"undecodable": 1}
    return {}


def _of_picture(rgb: pictures.Pixels) -> dict[str, float | int]:
    brightness = pictures.grey(rgb) / 255
    return {
        "width_px": rgb.shape[1],
        "height_px": rgb.shape[0],
        "brightness": float(brightness.mean()),
        "contrast": float(brightness.std()),
        "colourfulness": float((rgb.max(axis=2) - rgb.min(axis=2)).mean()) / 255,
    }


def _of_sound(sound: sounds.Sound) -> dict[str, float | int]:
    return {
        "seconds": sound.seconds,
        "rate_hz": sound.rate_hz,
        "loudness_db": sounds.decibel(float(np.sqrt(np.mean(sound.samples.astype(np.float64) ** 2)))),
        "peak": float(np.abs(sound.samples).max()),
    }
