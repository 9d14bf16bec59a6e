import pytest

from nightforge import sounds
from nightforge.clean.audio_length import Config, judge
from nightforge.view import View
from tests.media_samples import record, tone, wav

CFG = Config(seconds_min=0.2, seconds_max=1.0, rate_min_hz=8000)


@pytest.mark.parametrize(("seconds", "reasons"), [(0.2, []), (1.0, []), (0.199, ["too_short"]), (1.001, ["too_long"])])
def test_a_sound_at_a_bound_stays(seconds: float, reasons: list[str]) -> None:
    view = View(record(sounds.wav(tone(440, seconds)), "audio/wav"))
    assert [why.reason for why in judge(view, CFG)] == reasons


def test_a_low_rate_and_what_cannot_be_decoded() -> None:
    view = View(record(wav(1), "audio/wav"))
    assert [w.reason for w in judge(view, Config(seconds_min=0, seconds_max=9, rate_min_hz=8001))] == ["rate_too_low"]
    assert [w.reason for w in judge(View(record(b"RIFF", "audio/wav")), CFG)] == ["not_a_sound"]
    assert list(judge(View(record(b"", "text/plain", text="a")), CFG)) == []
