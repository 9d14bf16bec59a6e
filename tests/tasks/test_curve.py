"""`nightforge curve`: the project's dense model pruned, judged on its validation split; what cannot be is told."""

import copy
import json
import math
import shutil
from pathlib import Path

import pytest

from nightforge import models
from nightforge.errors import AssetMissing, ConfigError
from nightforge.records import Record, content_id
from tasks import curve, shards
from tests.small_lm import Small, sentences

ROOT = Path(__file__).parent.parent.parent


def test_a_curve_of_a_project(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetMissing, match="expected the dense model, got nothing"):
        curve.main("wanda", ["model.layers.*"])
    models.save(Path("models/dense"), copy.deepcopy(small.model), small.tokenizer, {"family": "causal_lm"})
    for seed, split in enumerate(("calibration", "validation"), 7):
        records = [Record(content_id(text, str(i)), text) for i, text in enumerate(sentences(40, seed))]
        shards.write(Path("data/splits") / split, records)
    with pytest.raises(ConfigError, match="expected one of magnitude, wanda, sparsegpt, got 'rtn'"):
        curve.main("rtn", ["model.layers.*"])
    with pytest.raises(ConfigError, match=r"named like 'nix\.\*'"):
        curve.main("wanda", ["nix.*"])
    card = json.loads(Path("models/dense/model.json").read_text())
    Path("models/dense/model.json").write_text(json.dumps(card | {"loader": "array", "family": "vae"}))
    with pytest.raises(ConfigError, match="expected a causal language model in models/dense, got vae"):
        curve.main("wanda", ["model.layers.*"])
    Path("models/dense/model.json").write_text(json.dumps(card))
    capsys.readouterr()
    assert curve.main("magnitude", ["model.layers.*"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert [row[0] for row in rows] == [f"{10 * i}%" for i in range(10)]
    assert (rows[0][2], float(rows[9][2]) > 1.2) == ("1", True)
    assert float(rows[9][2]) == pytest.approx(math.exp(float(rows[9][1]) - float(rows[0][1])), rel=0.01)
