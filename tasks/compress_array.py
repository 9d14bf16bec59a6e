"""How a model of images or sounds is compressed: the parts that it runs as ONNX graphs, which a recipe rewrites."""

from pathlib import Path

import torch

from nightforge import array_models, graphs
from tasks import arrays
from tasks.compress_graphs import Graphs
from tasks.compressing import Inputs

CALIBRATION_ROWS, CALIBRATION_SEED = 128, 3
"""Records of the calibration split that are scored, and labels that are sampled, while the parts are watched."""
KEPT = ("family", "shape", "classes", "media", "config", "metric", "parameters")
"""What a compressed model's card says as the dense one's does."""


class Compressor(Graphs):
    """What the stage asks of a kind of model."""

    def __init__(self, inputs: Inputs) -> None:
        loaded = array_models.load(inputs.dense)
        parts = watched(loaded, inputs.splits / "calibration", inputs.deps["judge"])
        super().__init__(inputs, loaded.model, parts, KEPT)


@torch.no_grad()
def watched(loaded: array_models.Loaded, calibration: Path, judge: Path) -> dict[str, graphs.Part]:
    """The parts that the family calls to score records of the calibration split and to sample, with all calls."""
    given, family = arrays.read(calibration, loaded.media, loaded.classes), loaded.family
    first = slice(CALIBRATION_ROWS)
    tensors = {name: value[first] for name, value in given.rows.tensors.items()}
    reader = array_models.load_judge(judge).model

    def run() -> None:
        family.module.score(loaded.model, family.cfg, tensors, given.rows.seeds[first], reader)
        family.module.sample(loaded.model, family.cfg, tensors["y"], CALIBRATION_SEED)

    return graphs.find(loaded.model, run)
