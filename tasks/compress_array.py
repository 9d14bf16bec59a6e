"""How a model of images or sounds is compressed: the parts that it runs as ONNX graphs, which a recipe rewrites."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from nightforge import array_models, graphs
from nightforge.compress._context import Context
from nightforge.errors import NightforgeError
from nightforge.methods import Method
from tasks import arrays
from tasks.export import ExportFailed
from tasks.hashing import sha256_tree
from tasks.score import Scores

CALIBRATION_ROWS, CALIBRATION_SEED = 128, 3
"""Records of the calibration split that are scored, and labels that are sampled, while the parts are watched."""
KEPT = ("family", "shape", "classes", "media", "config", "metric", "parameters")
"""What a compressed model's card says as the dense one's does."""


class Compressor:
    """What the stage asks of a kind of model."""

    def __init__(self, exporter: Method, dense: Path, splits: Path, deps: Mapping[str, Path]) -> None:
        self.exporter, self.dense = exporter, dense
        loaded = array_models.load(dense)
        self.parts = watched(loaded, splits / "calibration", deps["judge"])
        export = exporter.module.graph
        self.graphs = {path: export(loaded.model, part, exporter.cfg) for path, part in self.parts.items()}
        self.rest = graphs.rest(loaded.model)
        shapes = {
            f"{path}.{tensor.name}": tuple(tensor.dims)
            for path, graph in self.graphs.items()
            for tensor in graph.graph.initializer
            if tensor.data_type == tensor.FLOAT
        }
        self.facts = {key: loaded.card[key] for key in KEPT}
        self.context = Context(loaded.card["family"], loaded.card["loader"], False, shapes)

    def check(self, recipe: Method) -> None:
        """Refuse a recipe that cannot be, before any work.

        Raises:
            ConfigError: it does not work on this model.
        """
        recipe.module.check(self.context, recipe.cfg)

    def write(self, name: str, recipe: Method, out: Path) -> None:
        """Make the compressed model's folder.

        Raises:
            ExportFailed: the recipe stumbled over a graph.
        """
        made = {}
        for path, graph in self.graphs.items():
            try:
                made[path] = recipe.module.rewrite(copy.deepcopy(graph), self.parts[path].feeds(), recipe.cfg)
            except NightforgeError:
                raise
            except Exception as e:  # a quantizer has errors of many kinds, and one recipe's is a result, not the end
                raise ExportFailed(f"{recipe.name} failed on {path}: {type(e).__name__}: {e}") from e
        facts = self.facts | {
            "recipe": name,
            "precision": {"name": recipe.name, **recipe.cfg.model_dump(mode="json")},
            "parts": {path: part.gives for path, part in self.parts.items()},
            "dense_sha256": sha256_tree(self.dense),
        }
        graphs.save(out, made, self.rest, facts)

    def changed(self, folder: Path, base: Scores, scores: Scores) -> dict[str, float]:
        """The proof that a recipe had an effect."""
        return {
            "changed_share": graphs.changed_share(folder),
            "output_max_difference": float(np.abs(scores.probes - base.probes).max()),
        }


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
