"""The bench of compression: figures from what was made, what is kept of peers, and what texts SmolLM2 is judged on."""

import math
import sys
from pathlib import Path

import pytest

from bench import _decode, _halves, _peers, compress
from bench._halves import Half


def artifact(nats: float, mb: float) -> compress.Artifact:
    return compress.Artifact(nats, mb, [])


def test_ratios_are_of_perplexities_bytes_and_nats_lost() -> None:
    found = {
        "builder_int4": artifact(2.3, 20.0),
        "olive": artifact(2.2, 25.0),
        "int4": artifact(2.1, 10.0),
        "int4_recovered": artifact(2.025, 10.0),
    }
    figures = compress.ratios(found, 2.0, 100.0)
    assert figures["int4_ppl_ratio"] == pytest.approx(math.exp(0.1))
    assert figures["int4_size_ratio"] == pytest.approx(0.1)
    assert figures["int4_size_vs_builder"] == pytest.approx(0.5)
    assert figures["int4_loss_vs_builder"] == pytest.approx(1 / 3)
    assert figures["int4_ppl_vs_olive"] == pytest.approx(math.exp(-0.1))
    assert figures["int4_recovered_share"] == pytest.approx(0.75)


def test_what_was_made_of_the_same_is_kept_and_what_made_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_peers, "DATA", tmp_path)
    half, made = Half("own", tmp_path, tmp_path, 8, [], 0, "abc"), []

    def make(out: Path, work: Path) -> None:
        made.append(out)
        out.mkdir()
        (out / "model.onnx").write_text("x")

    first = _peers.kept(half, "peer", "k=1", make)
    assert _peers.kept(half, "peer", "k=1", make) == first and (first / "model.onnx").is_file() and len(made) == 1
    assert _peers.kept(half, "peer", "k=2", make) != first and len(made) == 2
    with pytest.raises(SystemExit, match="made nothing"):
        _peers.kept(half, "olive", "", lambda out, work: out.mkdir())
    assert sorted(p.name for p in (tmp_path / "own").iterdir() if not p.name.startswith("partial")) == sorted(
        {p.name for p in (first, _peers.kept(half, "peer", "k=2", make))}
    )


def test_arms_take_turns_and_the_ratio_is_of_the_same_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decode, "ROUNDS", 3)
    monkeypatch.setattr(_decode, "SETTLE_S", 0.0)
    answers = "import json, sys\nfor line in sys.stdin:\n    print([{0}] * (json.loads(line)[1] - 1), flush=True)"
    arms = {name: [sys.executable, "-c", answers.format(each)] for name, each in (("fast", 0.01), ("slow", 0.02))}
    speeds = _decode.in_turns(arms, list(range(99)))
    assert speeds["fast"] == pytest.approx([100.0] * 3) and speeds["slow"] == pytest.approx([50.0] * 3)
    assert _decode.ratio(speeds, "fast", "slow") == pytest.approx(2.0)


def test_a_speech_is_cut_at_ends_of_paragraphs_and_nothing_long_is_lost() -> None:
    speech = "\n".join(f"paragraph {i} " + "word " * 60 for i in range(20))
    passages = list(_halves._passages(speech))
    assert "\n".join(passages) == speech
    assert all(_halves.PASSAGE_CHARS <= len(p) < _halves.PASSAGE_CHARS + 400 for p in passages[:-1])
    assert list(_halves._passages("Thank you.")) == [], "what is short says little of a model"


def test_applause_is_no_speech() -> None:
    said = "We can. (Cheers, applause.) We (scattered applause) will."
    assert _halves._NO_SPEECH.sub("", said) == "We can. We will."
