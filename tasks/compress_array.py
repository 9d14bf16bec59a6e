"""How a model of images or sounds is compressed: passes over its network, then over the ONNX graphs of its parts."""

from pathlib import Path

from nightforge import array_models, graphs
from nightforge import judge as judges
from nightforge.array_models import Rows
from nightforge.compress import _network
from nightforge.compress._network import Given, Network
from tasks import arrays
from tasks.compress_graphs import Begun, Graphs
from tasks.compressing import Inputs, Made, Recipe
from tasks.progress import report
from tasks.score import Scores

CALIBRATION_ROWS, CALIBRATION_SEED = 128, 3
"""Records of the calibration split that are scored, and labels that are sampled, while the parts are watched."""
KEPT = ("family", "shape", "classes", "media", "config", "metric", "parameters")
"""What a compressed model's card says as the dense one's does."""


class Compressor(Graphs):
    """What the stage asks of a kind of model."""

    def __init__(self, inputs: Inputs) -> None:
        self.loaded = array_models.load(inputs.dense)
        self.judge = array_models.load_judge(inputs.deps["judge"]).model
        self.given = Given(
            calibration=_first(self._read(inputs.splits / "calibration"), CALIBRATION_ROWS),
            training=lambda: self._read(inputs.splits / "train"),
            judge=self.judge,
            dense=lambda: array_models.load(inputs.dense).model,
            seed=CALIBRATION_SEED,
        )
        network = Network(self.loaded.model, self.loaded.family)
        super().__init__(inputs, network.model, self.watched(network), KEPT)

    def watched(self, network: Network) -> dict[str, graphs.Part]:
        """The parts that the family calls to score records of the calibration split and to sample, with all calls."""
        given = self.given
        return graphs.find(
            network.model,
            lambda: _network.work(network.model, network.family, given.calibration, given.judge, given.seed),
        )

    def begin(self, passes: Recipe) -> Begun:
        """The network after passes over it, as graphs.

        Raises:
            NightforgeError: one failed.
        """
        if not passes:
            return self.begun
        network = Network(self.given.dense(), self.loaded.family)
        for at, method in enumerate(passes):
            report(at, len(passes), f"pass {method.name}")
            network = method.module.apply(network, self.given, method.cfg)
        begun = self.exported(network.model, self.watched(network))
        card = {
            "config": network.family.cfg.model_dump(mode="json"),
            "parameters": sum(p.numel() for p in network.model.parameters()),
        }
        return begun._replace(card=card, told={"skipped": network.skipped})

    def changed(self, folder: Path, base: Scores, scores: Scores, made: Made) -> dict[str, float]:
        """The proof that a recipe had an effect, and how far its samples lie from records."""
        near = {
            f"{name}kernel_distance": judges.kernel_distance(base.seen_real, one.seen_made)
            for name, one in (("", scores), ("dense_", base))
        }
        return super().changed(folder, base, scores, made) | near

    def _read(self, split: Path) -> Rows:
        return arrays.read(split, self.loaded.media, self.loaded.classes).rows


def _first(rows: Rows, count: int) -> Rows:
    return Rows({name: value[:count] for name, value in rows.tensors.items()}, rows.seeds[:count])
