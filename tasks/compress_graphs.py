"""How a model that runs as ONNX graphs is compressed: its parts are exported, and a recipe rewrites the graphs."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nightforge import graphs, models
from nightforge.compress._context import Context, refuse_other
from nightforge.errors import ConfigError, NightforgeError
from tasks.compressing import Inputs, Made, Recipe, in_order, key
from tasks.export import ExportFailed
from tasks.hashing import sha256_tree
from tasks.score import Scores


class Graphs:
    """What the stage asks of a kind of model, for those that graphs stand for."""

    loader = graphs.LOADER
    """What a compressed model's card says of how it is loaded."""

    def __init__(self, inputs: Inputs, network: Any, parts: Mapping[str, graphs.Part], kept: Sequence[str]) -> None:
        """Export the parts.

        Args:
            inputs: of the stage; the exporter is to ONNX graphs.
            network: what `parts` are of.
            parts: as nightforge.graphs.find gives them.
            kept: what a compressed model's card says as the dense one's does.

        Raises:
            ConfigError: the exporter writes for another runtime.
        """
        exporter, dense = inputs.cfg.export, inputs.dense
        if exporter.module.RUNTIME != "onnx":
            raise ConfigError(
                f"compress.export: expected onnx_graph, for {models.card(dense)['family']} runs as ONNX graphs, "
                f"got {exporter.name}. Set compress.export: {{name: onnx_graph, opset: 20}}."
            )
        self.inputs, self.dense, self.parts = inputs, dense, parts
        self.graphs = {path: exporter.module.graph(network, part, exporter.cfg) for path, part in parts.items()}
        self.rest = graphs.rest(network)
        held = {
            tensor.raw_data: (f"{path}.{tensor.name}", tuple(tensor.dims))  # what two graphs hold counts once
            for path, graph in self.graphs.items()
            for tensor in graph.graph.initializer
            if tensor.data_type == tensor.FLOAT
        }
        card = models.card(dense)
        self.facts = {key: card[key] for key in kept}
        self.context = Context(card["family"], card["loader"], False, dict(held.values()))

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that cannot be, before any work.

        Raises:
            ConfigError: it does not work on this model.
        """
        for method in recipe:
            refuse_other(method.name, method.module.COMPATIBLE, self.context)
            method.module.check(self.context, method.cfg)
        in_order(recipe)

    def least_mb(self, recipe: Recipe) -> float:
        """The least that the weights can weigh, in MB (10⁶ bytes)."""
        return min(float(method.module.least_mb(self.context, method.cfg)) for method in recipe)

    def key(self, recipe: Recipe) -> str:
        """Equal for what gives equal folders."""
        return key(self.inputs, recipe)

    def write(self, name: str, recipe: Recipe, out: Path, kept: Path) -> Made:
        """Make the compressed model's folder.

        Raises:
            ExportFailed: the recipe stumbled over a graph.
        """
        made = {}
        for path, graph in self.graphs.items():
            rewritten = copy.deepcopy(graph)
            for method in recipe:
                try:
                    rewritten = method.module.rewrite(rewritten, self.parts[path].feeds(), method.cfg)
                except NightforgeError:
                    raise
                except Exception as e:  # a quantizer has errors of many kinds, and one recipe's is a result
                    raise ExportFailed(f"{method.name} failed on {path}: {type(e).__name__}: {e}") from e
            made[path] = rewritten
        facts = self.facts | {
            "loader": self.loader,
            "recipe": name,
            "precision": [{"name": method.name, **method.cfg.model_dump(mode="json")} for method in recipe],
            "parts": {path: part.gives for path, part in self.parts.items()},
            "dense_sha256": sha256_tree(self.dense),
        }
        graphs.save(out, made, self.rest, facts)
        return Made({}, None)

    def changed(self, folder: Path, base: Scores, scores: Scores, made: Made) -> dict[str, float]:
        """The proof that a recipe had an effect."""
        return {
            "changed_share": graphs.changed_share(folder),
            "output_max_difference": float(np.abs(scores.probes - base.probes).max()),
        }
