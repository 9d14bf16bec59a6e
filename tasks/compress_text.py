"""How a language model is compressed: by the model builder of ONNX Runtime GenAI, asked for in words."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nightforge import models, onnx_models
from nightforge.compress._context import Context
from nightforge.methods import Method
from tasks import export, score
from tasks.hashing import sha256_tree
from tasks.score import Scores

KEPT = ("family", "tokenizer_sha256", "parameters", "context_length")
"""What a compressed model's card says as the dense one's does."""


class Compressor:
    """What the stage asks of a kind of model."""

    def __init__(self, exporter: Method, dense: Path, splits: Path, deps: Mapping[str, Path]) -> None:
        models.check_architecture(dense)
        self.exporter, self.dense, self.context = exporter, dense, _context(dense)

    def check(self, recipe: Method) -> None:
        """Refuse a recipe that cannot be, before any work.

        Raises:
            ConfigError: it does not work on this model, or its values exclude each other.
        """
        recipe.module.apply(self.context, recipe.cfg)

    def write(self, name: str, recipe: Method, out: Path) -> None:
        """Make the compressed model's folder.

        Raises:
            NightforgeError: the export failed.
        """
        precision, options = recipe.module.apply(self.context, recipe.cfg)
        export.in_fresh_process(self.exporter, self.dense, out, precision, options)
        facts = models.card(self.dense)
        card = {
            **{key: facts[key] for key in KEPT},
            "loader": self.exporter.module.RUNTIME,
            "recipe": name,
            "precision": {"precision": precision, **options},
            "dense_sha256": sha256_tree(self.dense),
        }
        (out / models.CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def changed(self, folder: Path, base: Scores, scores: Scores) -> dict[str, float]:
        """The proof that a recipe had an effect."""
        return {
            "changed_share": onnx_models.integer_share(folder),
            "output_max_difference": float(np.abs(scores.probes - base.probes).max()),
            "kl_nats_per_token": score.kl_nats(base.probes, scores.probes),
        }


def _context(dense: Path) -> Context:
    """What the dense folder says of itself, from its card, its config and the header of its weights."""
    from safetensors import safe_open

    card = models.card(dense)
    tied = json.loads((dense / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings", False)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(dense.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            shapes |= {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    return Context(card["family"], card["loader"], bool(tied), shapes)
