"""LiteRT where its converter is; elsewhere no work is begun, and what to do is said."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from nightforge.errors import AssetMissing, ConfigError, DataError
from nightforge.export import litert
from tests import held_models
from tests.small_lm import Small


@pytest.mark.skipif(find_spec("litert_torch") is not None, reason="it is installed")
def test_without_the_converter_nothing_is_begun(small: Small, tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match=r"expected the package litert-torch.*typing-extensions.*pip install litert"):
        litert.convert(small.held(), tmp_path / "nowhere", tmp_path / "out", litert.SAMPLE)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("litert_torch") is None, reason="litert-torch is no extra of ours")
def test_it_computes_what_the_model_in_memory_does(small: Small, tmp_path: Path) -> None:
    held = small.held()
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    assert litert.convert(held, plain, tmp_path / "out", litert.Config(tolerance=0.001, tokens=24)) == [
        "one row of at most 24 tokens, without a past"
    ]
    assert held_models.apart(held_models.reread(litert, tmp_path / "out"), held_models.logits(held.model)) < 1e-4
    with pytest.raises(DataError, match="at most the 24 tokens that its graph reads, got 25"):
        litert.opened(tmp_path / "out")[0](held_models.IDS.reshape(1, -1)[:, :25], held_models.IDS)
    with pytest.raises(ConfigError, match="at most the 64 tokens"):
        litert.convert(held, plain, tmp_path / "out", litert.Config(tolerance=0.001, tokens=65))
