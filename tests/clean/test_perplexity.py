"""The perplexity filter: bits per byte as the n-gram says, bounds by hand and by quantiles of held-out texts."""

import json
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from nightforge import ngram
from nightforge.clean import perplexity
from nightforge.clean.perplexity import SAMPLE, Config, judge, prepare
from nightforge.errors import AssetMissing, DataError
from nightforge.records import Mark, Record, Reject
from nightforge.view import View

RNG = random.Random(1)
TEXTS = [
    f"the {RNG.choice(['old', 'small', 'green'])} {RNG.choice(['tree', 'herb', 'vine'])} of the "
    f"{RNG.choice(['hills', 'coast', 'north'])} has {RNG.choice(['showy', 'narrow', 'pale'])} "
    f"{RNG.choice(['leaves', 'buds'])}"
    for _ in range(300)
]


def lay(assets: Path, texts: list[str]) -> Path:
    (assets / "trusted").mkdir(parents=True)
    lines = [json.dumps({"text": text}) for text in texts]
    (assets / "trusted" / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return assets


def said(text: str, cfg: Config, assets: Path) -> list[Mark | Reject]:
    return list(judge(View(Record(id="r", text=text)), cfg, prepare(cfg, assets)))


def test_bits_per_byte_by_hand(tmp_path: Path) -> None:
    cfg = Config(trusted="trusted", order=1, fit_bytes_max=1_000, bounds="bits_per_byte", low=0.3, high=3)
    lay(tmp_path, ["zzz", "aab"])  # the first of each ten is held out
    # p(a) = (2 - 1) / 3 + 1.5 / 3 / 256 = 0.33529: 1.5765 bits; a byte never seen has 0.5 / 256: 9 bits
    assert said("aaaa", cfg, tmp_path) == [Mark("bits_per_byte", 1.5765)]
    assert said("zq", cfg, tmp_path) == [
        Mark("bits_per_byte", 9.0),
        Reject("perplexity_too_high", "9.00 > 3.00 bits per byte"),
    ]
    low = cfg.model_copy(update={"low": 2.0})
    assert said("aaaa", low, tmp_path)[1] == Reject("perplexity_too_low", "1.58 < 2.00 bits per byte")
    assert said("", cfg, tmp_path) == []


def test_quantiles_are_of_texts_not_learnt_from(tmp_path: Path) -> None:
    lay(tmp_path, TEXTS)
    cfg = SAMPLE.model_copy(update={"low": 0.2, "high": 0.8})
    trusted = prepare(cfg, tmp_path)
    rest = [(None, t.encode()) for i, t in enumerate(TEXTS) if i % 10]
    nats = ngram.document_nats(ngram.fit(rest, cfg.order), [(None, t.encode()) for t in TEXTS[::10]])
    surprise = sorted(n / perplexity.LN2 / len(t) for n, t in zip(nats, TEXTS[::10], strict=True))
    assert surprise[5] <= trusted.low <= surprise[6] and surprise[23] <= trusted.high <= surprise[24]
    assert prepare(SAMPLE, tmp_path).low == 0  # 0 bounds nothing


def test_another_language_is_dropped_and_the_same_stays(tmp_path: Path) -> None:
    lay(tmp_path, TEXTS)
    assert len(said("the green vine of the coast has pale leaves", SAMPLE, tmp_path)) == 1
    for strange in ("der grüne Wein der Küste hat blasse Blätter", "xkcd qwerty 12345 !!!", "的树叶"):
        (_, reject) = said(strange, SAMPLE, tmp_path)
        assert isinstance(reject, Reject) and reject.reason == "perplexity_too_high"


def test_no_more_is_learnt_from_than_said(tmp_path: Path) -> None:
    lay(tmp_path, TEXTS)
    small = prepare(SAMPLE.model_copy(update={"fit_bytes_max": 2_000}), tmp_path)
    rest = [text for i, text in enumerate(TEXTS) if i % 10]
    assert 5 * 2_000 < sum(map(len, rest)) < 6 * 2_000  # so every sixth
    want = ngram.fit([(None, text.encode()) for text in rest[::6]], SAMPLE.order)
    assert small.model.grams[-1].tolist() == want.tables[-1].grams.tolist()


def test_too_few_texts_for_quantiles(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 91 texts or more to find quantiles, got 90"):
        prepare(SAMPLE, lay(tmp_path, TEXTS[:90]))
    with pytest.raises(AssetMissing, match="name: other"):
        prepare(SAMPLE.model_copy(update={"trusted": "other"}), tmp_path)


def test_bounds_that_cannot_be() -> None:
    for bad in ({"low": 2, "high": 1}, {"bounds": "quantile", "high": 1.5}):
        with pytest.raises(ValidationError, match="expected low < high"):
            Config(**SAMPLE.model_dump() | bad)
