"""A network and its graphs are scored on the same draws, by the one or the other, and make the same pictures."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from nightforge import array_models, graphs, judge, methods
from nightforge.contract import Contract
from nightforge.errors import ConfigError
from nightforge.media import image
from tasks import compress_array, generate, generate_array, score, shards
from tasks.compressing import CompressConfig, Inputs
from tests import digits

ROOT = Path(__file__).parent.parent.parent

SHAPE, CLASSES = (1, 8, 8), [str(i) for i in range(10)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense model and a judge of random weights, and two splits."""
    folder = tmp_path_factory.mktemp("pictures")
    family = methods.load("train", "vae")
    torch.manual_seed(0)
    known = {"shape": list(SHAPE), "classes": CLASSES, "media": {"name": "image", **image.SAMPLE.model_dump()}}
    own = {"family": "vae", "config": family.SAMPLE.model_dump(mode="json"), "metric": family.METRIC}
    array_models.save(folder / "dense", family.build(family.SAMPLE, SHAPE, 10), known | own)
    reader = judge.build(judge.SAMPLE, SHAPE, 10)
    facts = known | {"family": "judge", "kind": judge.CLASSIFIER, "config": judge.SAMPLE.model_dump()}
    array_models.save(folder / "judge", reader, facts)
    shards.write(folder / "splits/calibration", digits.records(12))
    shards.write(folder / "splits/search", digits.records(20, 12))
    values = yaml.safe_load((ROOT / "examples/images/params.yaml").read_text(encoding="utf-8"))
    half = {"name": "half_weights", "elements_min": 64}
    gguf = {"name": "gguf", "rest": "f16", "tolerance": 0.1}
    narrow = [{"name": "prune_channels", "share": 0.5, "damp": 0.001}, half]
    cfg = CompressConfig.model_validate(values["compress"] | {"recipes": {"half": [half], "narrow": narrow}})
    contract, deps = Contract.model_validate(values["contract"]), {"judge": folder / "judge"}
    compressor = compress_array.Compressor(Inputs(cfg, contract, 1, folder / "dense", folder / "splits", deps))
    assert set(compressor.begun.graphs) == {"encode", "decode"}
    for name, recipe in cfg.recipes.items():
        compressor.check(recipe)
        made = compressor.write(recipe, folder / name, folder / "kept")
        size = sum(file.stat().st_size for file in (folder / name).glob("*.onnx")) / 1e6
        assert compressor.least_mb(recipe) < size, "weights alone"
        assert (made.facts["removed_share"] > 0.2) == (name == "narrow")
        two = [score.score(folder / one, folder / "splits/search", 20, folder / "judge") for one in ("dense", name)]
        proof = compressor.changed(folder / name, two[0], two[1], made)
        assert made.facts["removed_share"] < proof["changed_share"] <= 1
        assert proof["kernel_distance"] != proof["dense_kernel_distance"]
    also = CompressConfig.model_validate(values["compress"] | {"recipes": {"half": [half]}, "also": {"gguf": gguf}})
    with pytest.raises(ConfigError, match=r"compress\.also: expected \{\} for vae"):
        compress_array.Compressor(Inputs(also, contract, 1, folder / "dense", folder / "splits", deps))
    with pytest.raises(ConfigError, match="prune_channels cannot come after half_weights"):
        compressor.check(cfg.recipes["narrow"][::-1])
    return folder


def test_graphs_are_scored_as_the_network_is(project: Path) -> None:
    dense, half = (
        score.score(project / name, project / "splits/search", 7, project / "judge") for name in ("dense", "half")
    )
    assert dense.ids.tolist() == half.ids.tolist() == [r.id for r in digits.records(20, 12)]
    assert dense.units.tolist() == [64] * 20 and dense.prompts.shape == (20, 1)
    np.testing.assert_allclose(half.nats, dense.nats, rtol=1e-3)
    assert 0 < np.abs(half.probes - dense.probes).max() < 0.02
    whole = score.score(project / "dense", project / "splits/search", 100, project / "judge")
    np.testing.assert_allclose(whole.nats, dense.nats, rtol=1e-5, err_msg="a row's score depends on its batch")


def test_a_network_of_fewer_channels_becomes_smaller_graphs(project: Path) -> None:
    half, narrow = (
        {file.stem: file.stat().st_size for file in (project / name).glob("*.onnx")} for name in ("half", "narrow")
    )
    assert all(narrow[part] < 0.9 * half[part] for part in ("encode", "decode")), (half, narrow)
    card = json.loads((project / "narrow/model.json").read_text())
    assert card["parameters"] < json.loads((project / "half/model.json").read_text())["parameters"]
    found = score.score(project / "narrow", project / "splits/search", 20, project / "judge")
    assert np.isfinite(found.nats).all()


def test_a_folder_of_graphs_holds_no_weights_beside_them(project: Path) -> None:
    assert {p.name for p in (project / "half").iterdir()} == {
        "encode.onnx", "decode.onnx", "model.json", "rest.safetensors"
    }  # fmt: skip
    assert graphs.changed_share(project / "half") > 0.9


def test_generate_writes_a_line_a_label(project: Path) -> None:
    [file] = generate_array.generate(project / "half", project, None, 3, 5)
    picture = Image.open(io.BytesIO(Path(file).read_bytes()))
    assert picture.size == (3 * 50, 10 * 50)
    [again] = generate_array.generate(project / "half", project, None, 3, 5)
    assert (file, Path(file).read_bytes()) == (again, Path(again).read_bytes())
    [one] = generate_array.generate(project / "dense", project, "7", 2, 5)
    assert Image.open(one).size == (2 * 50, 50)
    with pytest.raises(ConfigError, match=r"no class '77'\. Did you mean '7'"):
        generate_array.generate(project / "half", project, "77", 1, 0)


def test_a_prompt_for_pictures_is_refused(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {train: {cmd: x, outs: [dense]}}")
    (project / "params.yaml").write_text("seed: 1")
    asked: dict[str, Any] = {"label": "7", "n": 1, "max_new_tokens": 1, "temperature": 1.0, "seed": 0}
    assert generate.generate(project, prompt="", model="dense", **asked)[0].endswith("dense-7-0.png")
    with pytest.raises(ConfigError, match="a prompt is for models of texts, got 'hello'"):
        generate.generate(project, prompt="hello", model="dense", **asked)
