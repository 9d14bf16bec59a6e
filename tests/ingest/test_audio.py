import io

import numpy as np
import pytest
import soundfile

from nightforge.ingest.audio import SAMPLE, read
from nightforge.records import Record, Reject
from tests.media_samples import tone, wav, zipped


def written(kind: str, samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 8000, format=kind)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "media_type"), [("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg"), ("AIFF", "aiff")])
def test_formats(kind: str, media_type: str) -> None:
    content = written(kind, tone(440).samples)
    (found,) = read(io.BytesIO(zipped({"hum/1": content})), SAMPLE)
    assert isinstance(found, Record)
    assert (found.content, found.media_type, found.label, found.text) == (content, f"audio/{media_type}", "hum", "")


def test_broken_sounds_cost_themselves_alone() -> None:
    nan = io.BytesIO()
    soundfile.write(nan, np.array([0.1, np.nan], np.float32), 8000, format="WAV", subtype="FLOAT")
    files = {
        "a/1.wav": wav(1),
        "a/2.wav": b"RIFF....WAVE",
        "a/3.wav": written("WAV", np.zeros(0)),
        "a/4.wav": nan.getvalue(),
        "a/5.png": b"no",
        "a/6.wav": wav(2),
    }
    found = [i.reason if isinstance(i, Reject) else i.label for i in read(io.BytesIO(zipped(files)), SAMPLE)]
    assert found == ["a", "not_a_sound", "empty_sound", "non_finite_sound", "not_a_sound", "a"]
