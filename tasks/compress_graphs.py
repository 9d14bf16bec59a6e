"""How a model that runs as ONNX graphs is compressed: its parts are exported, and a recipe rewrites the graphs."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nightforge import graphs, models
from nightforge.compress._context import Context, refuse_other
from nightforge.errors import ConfigError, NightforgeError
from nightforge.methods import Method
from tasks.export import ExportFailed
from tasks.hashing import sha256_tree
from tasks.score import Scores


class Graphs:
    """What the stage asks of a kind of model, for those that graphs stand for."""

    loader = graphs.LOADER
    """What a compressed model's card says of how it is loaded."""

    def __init__(
        self, exporter: Method, dense: Path, network: Any, parts: Mapping[str, graphs.Part], kept: Sequence[str]
    ) -> None:
        """Export the parts.

        Args:
            exporter: to ONNX graphs.
            dense: the model folder.
            network: what `parts` are of.
            parts: as nightforge.graphs.find gives them.
            kept: what a compressed model's card says as the dense one's does.

        Raises:
            ConfigError: the exporter writes for another runtime.
        """
        if exporter.module.RUNTIME != "onnx":
            raise ConfigError(
                f"compress.export: expected onnx_graph, for {models.card(dense)['family']} runs as ONNX graphs, "
                f"got {exporter.name}. Set compress.export: {{name: onnx_graph, opset: 20}}."
            )
        self.dense, self.parts = dense, parts
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

    def check(self, recipe: Method) -> None:
        """Refuse a recipe that cannot be, before any work.

        Raises:
            ConfigError: it does not work on this model.
        """
        refuse_other(recipe.name, recipe.module.COMPATIBLE, self.context)
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
            "loader": self.loader,
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
