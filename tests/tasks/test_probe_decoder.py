"""An artifact that is one graph is timed and scored as any other model folder is."""

from pathlib import Path

import numpy as np
import pytest

from nightforge import models
from nightforge.export import torch_export
from nightforge.records import Record
from tasks import artifacts, probe, probe_decoder, score, shards
from tests import held_models
from tests.small_lm import Small
from tests.tasks.test_artifacts import method


@pytest.mark.slow
def test_what_was_written_is_timed_and_scored(small: Small, tmp_path: Path) -> None:
    held = held_models.shallow(small.held())
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    records = [Record(str(i), f"the tall river of an island has green water, and {i} more") for i in range(4)]
    table = artifacts.write_all(held, plain, tmp_path, {"program": method(torch_export)}, records, {"recipe": "none"})
    assert table["program"]["max_difference"] < 1e-3
    folder = tmp_path / "program"
    assert models.card(folder)["loader"] == torch_export.RUNTIME
    prompts = [[4, 30, 31], [4, 32], [4, 33]]
    assert len(probe_decoder.measure(folder, prompts, 5)) == 2 * (5 - 1), "the first prompt and first tokens warm up"
    assert probe.measure(folder, prompts, 5)["tokens_per_s"] > 0
    shards.write(tmp_path / "split", records)
    found, dense = (score.score(one, tmp_path / "split", 512) for one in (folder, plain))
    np.testing.assert_allclose(found.nats, dense.nats, rtol=1e-4)
