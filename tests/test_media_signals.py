import numpy as np
import pyarrow as pa
import pytest

from nightforge import drift, sounds
from nightforge.records import Record, content_id
from nightforge.signals import COLUMNS, READ, of_batch
from tasks.shards import meta
from tests.media_samples import encoded, record, tone


def batch(records: list[Record]) -> pa.RecordBatch:
    rows = [{name: meta(r) if name == "meta" else getattr(r, name) for name in READ} for r in records]
    return pa.RecordBatch.from_pylist(
        rows, schema=pa.schema([(n, pa.binary() if n == "content" else pa.string()) for n in READ])
    )


def half(left: int, right: int) -> Record:
    pixels = np.full((4, 8, 3), left, np.uint8)
    pixels[:, 4:] = right
    return record(encoded(pixels), "image/png")


def test_by_hand() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    rows = of_batch(
        batch(
            [
                half(0, 255),
                record(encoded(red), "image/png"),
                record(sounds.wav(tone(440, 0.25)), "audio/wav"),
                record(b"no", "image/png"),
                Record(content_id("a text"), "a text", source="t#1"),
            ]
        )
    )
    shown = rows.select("width_px", "height_px", "brightness", "contrast", "colourfulness", "undecodable").rows()
    assert shown[0] == (8, 4, pytest.approx(0.5), pytest.approx(0.5), 0, 0)
    assert shown[1] == (2, 2, pytest.approx(0.299, abs=1e-4), pytest.approx(0, abs=1e-4), 1, 0)
    assert shown[2:] == [(None,) * 5 + (0,), (None,) * 5 + (1,), (None,) * 6]
    heard = rows.select("seconds", "rate_hz", "loudness_db", "peak").row(2)
    assert heard == (0.25, 8000, pytest.approx(20 * np.log10(0.5 / 2**0.5), abs=0.01), pytest.approx(0.5, abs=1e-3))


def test_texts_alone_have_no_such_columns() -> None:
    assert of_batch(batch([Record(content_id("a"), "a", source="t#1")])).columns == list(COLUMNS)


def test_drift_sees_darker_pictures() -> None:
    light, dark = (of_batch(batch([half(base + k % 40, 255) for k in range(200)])) for base in (150, 20))
    found = drift.compare(drift.profile(light), dark)
    assert found["brightness"]["psi_beyond_noise"] > 1
    assert drift.compare(drift.profile(light), light)["brightness"]["psi_beyond_noise"] == 0
    texts = of_batch(batch([Record(content_id("a"), "a", source="t#1")]))
    assert np.isnan(drift.compare(drift.profile(light), texts)["brightness"]["psi"])
