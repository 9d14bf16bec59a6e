"""Artifacts are written, opened in fresh processes and compared; what fails is told, and leaves nothing behind."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightforge import models
from nightforge.cards import Card
from nightforge.errors import DataError
from nightforge.export import compressed_tensors, gguf, huggingface
from nightforge.grids import Spec
from nightforge.held import Held
from nightforge.methods import Method
from nightforge.records import Record
from tasks import artifacts
from tasks.artifacts import Probes
from tests import held_models
from tests.small_lm import Small

RECORDS = [Record("1", "the tall river of an island has green water, and 17 more"), Record("2", "漢字 it's\n\n  x")]


def mute(held: Held, plain: Path, out: Path, cfg: Any) -> list[str]:
    """An exporter that writes another model, and says nothing."""
    said = huggingface.convert(held, plain, out, huggingface.SAMPLE)
    from safetensors.torch import load_file, save_file

    tensors = load_file(out / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"] *= -1
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return said


def breaks(held: Held, plain: Path, out: Path, cfg: Any) -> list[str]:
    out.mkdir(parents=True)
    raise ZeroDivisionError("of the converter")


def method(module: Any, **changed: Any) -> Method:
    name = module.__name__.rpartition(".")[2]
    return Method("export", name, SimpleNamespace(**{**vars(module), **changed}), module.SAMPLE)  # type: ignore[arg-type]


def test_each_is_written_and_found_as_it_was(small: Small, tmp_path: Path) -> None:
    held = held_models.rounded(small, {"model.layers.*": Spec(4, 32, True)})
    plain = held_models.plain(held, small.tokenizer, tmp_path / "plain")
    (tmp_path / "out/mute").mkdir(parents=True)
    (tmp_path / "out/mute/old").write_text("of a run before")
    exporters = {
        "plain": method(huggingface),
        "vllm": method(compressed_tensors),
        "llama": method(gguf),
        "mute": method(huggingface, convert=mute),
        "breaks": method(huggingface, convert=breaks),
    }
    about = Card("", "", "", 0, "", passes=[{"name": "rtn", "bits": 4}], lineage={"dense": "2a9f"})
    table = artifacts.write_all(held, plain, tmp_path / "out", exporters, RECORDS, {"recipe": "int4"}, about)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["llama", "plain", "vllm"]
    assert "expected logits within 0.001 of their standard deviation, got" in table["mute"]["failed"]
    assert table["breaks"] == {"failed": "ZeroDivisionError: of the converter"}
    for name in ("plain", "vllm", "llama"):
        assert table[name]["difference"] <= table[name]["tolerance"]
        card = models.card(tmp_path / "out" / name)
        assert (card["recipe"], card["loader"]) == ("int4", exporters[name].module.RUNTIME)
        page = (tmp_path / "out" / name / "README.md").read_text()
        assert (
            "rtn: bits 4" in page
            and "2a9f" in page
            and f"# {exporters[name].name.replace('_', chr(92) + '_')} for" in page
        )
    assert table["vllm"]["max_difference"] < 1e-5 < table["llama"]["max_difference"]
    assert models.load(tmp_path / "out/plain").card["parameters"] == models.card(plain)["parameters"]
    assert json.dumps(table), "a table goes into the metrics"


def test_apart_by_hand() -> None:
    one = Probes(np.array([1, 2]), np.array([[0.0, 2.0], [0.0, 2.0]], np.float32))  # a standard deviation of 1
    other = Probes(np.array([1, 2]), np.array([[0.0, 2.0], [0.5, 2.0]], np.float32))
    assert artifacts.apart(other, one) == (0.25, 0.5)
    with pytest.raises(DataError, match="other tokens of the same texts, the first at 1"):
        artifacts.apart(other._replace(ids=np.array([1, 3])), one)
    with pytest.raises(DataError, match=r"expected logits of shape \(2, 2\), got \(2, 1\)"):
        artifacts.apart(other._replace(logits=other.logits[:, :1]), one)


def test_a_folder_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(artifacts.NotReopened, match=r"could not be opened: .*safetensors"):
        artifacts.in_fresh_process("huggingface", tmp_path, RECORDS)
