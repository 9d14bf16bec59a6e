"""TensorRT is refused where there is no NVIDIA GPU; the graph that it would read is the model."""

from pathlib import Path

import onnxruntime as ort
import pytest
import torch

from nightforge.errors import AssetMissing
from nightforge.export import tensorrt
from tests import held_models
from tests.small_lm import Small


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_begun(small: Small, tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match="expected an NVIDIA GPU, found none"):
        tensorrt.convert(small.held(), tmp_path / "nowhere", tmp_path / "out", tensorrt.SAMPLE)
    with pytest.raises(AssetMissing, match="expected an NVIDIA GPU, found none"):
        tensorrt.opened(tmp_path)
    assert not (tmp_path / "out").exists()


def test_its_graph_gives_the_logits_for_any_rows_and_tokens(small: Small) -> None:
    held = held_models.shallow(small.held())
    session = ort.InferenceSession(tensorrt.graph(held), providers=["CPUExecutionProvider"])
    expected = held_models.logits(held.model)
    (found,) = session.run([tensorrt.OUTPUT], {tensorrt.INPUT: held_models.IDS})
    assert held_models.apart(found, expected) < 1e-4
    (one,) = session.run([tensorrt.OUTPUT], {tensorrt.INPUT: held_models.IDS[:1, :7]})
    assert held_models.apart(one, expected[:1, :7]) < 1e-4
