"""A program that torch loads alone: the same logits in a process without transformers, and no pickle in it."""

import io
import subprocess
import sys
import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nightforge.errors import ConfigError, DataError
from nightforge.export import _decoder, torch_export
from nightforge.grids import Spec
from tests import held_models
from tests.small_lm import Small

ALONE = """
import sys, numpy as np, torch
program = torch.export.load(sys.argv[1]).module()
ids = torch.from_numpy(np.load(sys.argv[2]))
past = tuple(torch.zeros(2, 2, 0, 16) for _ in range(2))
assert "transformers" not in sys.modules
np.save(sys.argv[3], program(ids, past)[0].detach().numpy())
"""


def test_torch_alone_gives_the_same_logits(small: Small, tmp_path: Path) -> None:
    held = held_models.shallow(held_models.rounded(small, {"model.layers.*": Spec(4, 32, True)}))
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    assert torch_export.convert(held, plain, tmp_path / "out", torch_export.SAMPLE) == [
        "integers are written as the numbers that they stand for"
    ]
    np.save(tmp_path / "ids.npy", held_models.IDS)
    files = [tmp_path / "out" / torch_export.FILE, tmp_path / "ids.npy", tmp_path / "logits.npy"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, *map(str, files)], check=True)
    assert held_models.apart(np.load(tmp_path / "logits.npy"), held_models.logits(held.model)) < 1e-4
    with zipfile.ZipFile(files[0]) as archive:
        told = {name: archive.read(name) for name in archive.namelist() if name.endswith(".json")}
    assert not any(b".py" in content for content in told.values()), "paths of a checkout"
    step = torch_export.stepping(tmp_path / "out")
    made = list(islice(_decoder.greedy(step, _decoder.empty(tmp_path / "out", 1), [4, 30, 31]), 6))
    again = held.model.generate(torch.tensor([[4, 30, 31]]), max_new_tokens=6, do_sample=False, eos_token_id=-1)
    assert made == again[0, 3:].tolist()


def test_a_window_is_refused(small: Small, tmp_path: Path) -> None:
    held = small.held()
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    held.model.config.sliding_window = 16
    with pytest.raises(ConfigError, match="attend to all tokens before, got sliding"):
        torch_export.convert(held, plain, tmp_path / "out", torch_export.SAMPLE)
    assert not (tmp_path / "out").exists()


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_in_a_program_is_not_run(small: Small, tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save((Evil(tmp_path / "ran"),), content)
    for name, data in (("x/data/sample_inputs/x.pt", content.getvalue()), ("x/a_config.json", b'{"use_pickle": true}')):
        with zipfile.ZipFile(tmp_path / torch_export.FILE, "w") as archive:
            archive.writestr(name, data)
        with pytest.raises(DataError, match="expected tensors alone"):
            torch_export.stepping(tmp_path)
    assert not (tmp_path / "ran").exists()
