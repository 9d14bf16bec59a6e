"""How a model that runs as ONNX graphs is compressed: its parts are exported, and a recipe rewrites the graphs."""

import copy
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nightforge import graphs, models
from nightforge.cards import Card
from nightforge.compress._context import Context, refuse_other
from nightforge.errors import ConfigError, NightforgeError
from tasks.compressing import Inputs, Made, Recipe, in_order, key
from tasks.export import ExportFailed
from tasks.hashing import sha256_tree
from tasks.score import Scores

GRAPH_DIFFERENCE_MAX = 0.001
"""Between a graph and what it stands for, before a recipe rewrites it; a share of the largest number that comes out."""


class Begun(NamedTuple):
    """A network as graphs, before a recipe rewrites them."""

    parts: Mapping[str, graphs.Part]
    graphs: Mapping[str, Any]
    rest: dict[str, Any]
    card: dict[str, Any]
    """What its card says otherwise than the dense one's."""
    told: dict[str, Any]
    """What the passes over the network say of it."""


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
        if inputs.cfg.also:
            raise ConfigError(
                f"compress.also: expected {{}} for {models.card(dense)['family']}, whose graphs every runtime of ONNX "
                f"reads, got {', '.join(inputs.cfg.also)}."
            )
        self.inputs, self.dense = inputs, dense
        self.begun = self.exported(network, parts)
        card = models.card(dense)
        self.facts = {key: card[key] for key in kept}
        shapes = _shapes(self.begun.graphs)
        self.context = Context(card["family"], card["loader"], False, shapes, card.get("config", {}))

    def exported(self, network: Any, parts: Mapping[str, graphs.Part]) -> Begun:
        """The parts as graphs.

        Raises:
            ExportFailed: a graph gives something else than the part that it stands for.
        """
        exporter = self.inputs.cfg.export
        made = {path: exporter.module.graph(network, part, exporter.cfg) for path, part in parts.items()}
        for path, graph in made.items():
            if (apart := graphs.difference(graph, parts[path])) > GRAPH_DIFFERENCE_MAX:
                raise ExportFailed(
                    f"the graph of {path} gives other numbers than the network: {apart:.2g} of the largest, where "
                    f"{GRAPH_DIFFERENCE_MAX:g} is rounding."
                )
        return Begun(parts, made, graphs.rest(network), {}, {})

    def begin(self, passes: Recipe) -> Begun:
        """What passes over the network make of it; such a kind of model has an own way for them.

        Raises:
            NightforgeError: one failed.
        """
        return self.begun

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
        passes, rewrites = _apart(recipe)
        left = prod(float(method.module.least_share(method.cfg)) for method in passes)
        whole = sum(map(prod, self.context.shapes.values())) * 4 / 1e6
        return left * min([whole, *(float(m.module.least_mb(self.context, m.cfg)) for m in rewrites)])

    def key(self, recipe: Recipe) -> str:
        """Equal for what gives equal folders."""
        return key(self.inputs, recipe)

    def write(self, recipe: Recipe, out: Path, kept: Path) -> Made:
        """Make the compressed model's folder.

        Raises:
            ExportFailed: the recipe stumbled over a graph.
        """
        passes, rewrites = _apart(recipe)
        begun = self.begin(passes)
        made = {}
        for path, graph in begun.graphs.items():
            rewritten = copy.deepcopy(graph)
            for method in rewrites:
                try:
                    rewritten = method.module.rewrite(rewritten, begun.parts[path].feeds(), method.cfg)
                except NightforgeError:
                    raise
                except Exception as e:  # a quantizer has errors of many kinds, and one recipe's is a result
                    raise ExportFailed(f"{method.name} failed on {path}: {type(e).__name__}: {e}") from e
            made[path] = rewritten
        before, after = (sum(map(prod, _shapes(one.graphs).values())) for one in (self.begun, begun))
        facts = (
            self.facts
            | begun.card
            | {
                "loader": self.loader,
                "precision": [{"name": method.name, **method.cfg.model_dump(mode="json")} for method in recipe],
                "parts": {path: part.gives for path, part in begun.parts.items()},
                "dense_sha256": sha256_tree(self.dense),
            }
        )
        graphs.save(out, made, begun.rest, facts)
        return Made({"removed_share": 1 - after / before, **begun.told}, None)

    def artifacts(self, recipe: Recipe, out: Path, kept: Path, card: Card) -> dict[str, dict[str, Any]]:
        """Graphs are what every runtime of ONNX reads; there is nothing else to write."""
        return {}

    def changed(self, folder: Path, base: Scores, scores: Scores, made: Made) -> dict[str, float]:
        """The proof that a recipe had an effect."""
        left = 1 - float(made.facts["removed_share"])
        return {
            "changed_share": 1 - left * (1 - graphs.changed_share(folder)),
            "output_max_difference": float(np.abs(scores.probes - base.probes).max()),
        }


def _apart(recipe: Recipe) -> tuple[Recipe, Recipe]:
    """The passes over the network, and those over its graphs, which come after."""
    passes = [method for method in recipe if not hasattr(method.module, "rewrite")]
    return passes, recipe[len(passes) :]


def _shapes(made: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of graphs by name; what two of them hold counts once."""
    held = {
        tensor.raw_data: (f"{path}.{tensor.name}", tuple(tensor.dims))
        for path, graph in made.items()
        for tensor in graph.graph.initializer
        if tensor.data_type == tensor.FLOAT
    }
    return dict(held.values())
