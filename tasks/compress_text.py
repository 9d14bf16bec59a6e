"""How a language model is compressed: the passes of a recipe in memory, one after the other, then the export."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nightforge import models, onnx_models, tokenizer
from nightforge.cards import Card
from nightforge.compress._context import Context, check_layers
from nightforge.compress._pass import Footprint, Given
from nightforge.compress._prune import NO_SPEED_UP
from nightforge.errors import ConfigError
from nightforge.held import Held, multiplied_out
from tasks import artifacts, export, recipes, score, shards
from tasks.compressing import Inputs, Made, Recipe, in_order, key
from tasks.hashing import sha256_tree, size_mb
from tasks.score import Scores

KEPT = ("family", "tokenizer_sha256", "parameters", "context_length")
"""What a compressed model's card says as the dense one's does."""


class Compressor:
    """What the stage asks of a kind of model."""

    def __init__(self, inputs: Inputs) -> None:
        models.check_architecture(inputs.dense)
        exporter = inputs.cfg.export
        if exporter.module.RUNTIME != "onnxruntime-genai":
            raise ConfigError(
                f"compress.export: expected onnx_genai, whose runtime a language model is measured in, got "
                f"{exporter.name}. Name other formats under compress.also."
            )
        if inputs.cfg.calibration_tokens is None:
            raise ConfigError(
                "compress.calibration_tokens: expected a number for a language model, such as 65536, got null."
            )
        self.inputs, self.context = inputs, _context(inputs.dense)

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that cannot be, before any work.

        Raises:
            ConfigError: it does not work on this model, its values exclude each other, or a pass follows one that it
                cannot follow.
        """
        in_order(recipe)
        for at, method in enumerate(recipe):
            method.module.check(self.context, method.cfg)
            if all(before.module.KIND != "factor" for before in recipe[:at]):  # which makes layers of other names
                named = getattr(method.cfg, "start", None) or method  # qat names the quantizer that it starts from
                table = getattr(named.module, "TABLE", False)
                check_layers(self.context, getattr(named.cfg, "layers", []), table)

    def least_mb(self, recipe: Recipe) -> float:
        """The least that the weights can weigh, in MB (10⁶ bytes)."""
        bits = recipes.matrix_bits(self.inputs)
        dense = {name: Footprint(shape, bits if len(shape) == 2 else 32) for name, shape in self.context.shapes.items()}
        least = reduce(lambda tensors, method: method.module.least(tensors, method.cfg), recipe, dense)
        return sum(prod(one.shape) * one.bits for one in least.values()) / 8e6

    def key(self, recipe: Recipe) -> str:
        """Equal for what gives equal folders."""
        return key(self.inputs, recipe)

    def write(self, recipe: Recipe, out: Path, kept: Path) -> Made:
        """Make the compressed model's folder.

        Raises:
            NightforgeError: a pass or the export failed.
        """
        exporter = self.inputs.cfg.export
        loaded = models.load(self.inputs.dense)
        given = self._given(loaded)
        held = Held(loaded.model)
        held = recipes.applied(recipe, held, given, kept, recipes.proof(self.inputs, held, given))
        with _plain(held, loaded) as plain:
            larger = export.write_genai(exporter, held, plain, out, given.calibration)
        card = {
            **{key: loaded.card[key] for key in KEPT},
            **self._facts(recipe),
            "parameters": sum(p.numel() for p in held.model.parameters()),
            "loader": exporter.module.RUNTIME,
        }
        (out / models.CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        facts = {
            "skipped": held.skipped,
            "held_in_more_bits": larger,
            "notes": [{"pass": name, **figures} for name, figures in held.notes],
            "remarks": [NO_SPEED_UP] if any(method.module.KIND == "prune" for method in recipe) else [],
        }
        return Made(facts, self._probes(held.model, loaded))

    def artifacts(self, recipe: Recipe, out: Path, kept: Path, card: Card) -> dict[str, dict[str, Any]]:
        """Write the recipe's model for what `also` names, and tell of each; see tasks.artifacts.write_all."""
        also = self.inputs.cfg.also
        if not also:
            return {}
        loaded = models.load(self.inputs.dense)
        held = recipes.applied(recipe, Held(loaded.model), self._given(loaded), kept)
        records = list(islice(shards.read(self.inputs.splits / "search"), score.PROBES))
        with _plain(held, loaded) as plain:
            return artifacts.write_all(held, plain, out, also, records, self._facts(recipe), card)

    def _given(self, loaded: models.Loaded) -> Given:
        return recipes.given(self.inputs, loaded.tokenizer, loaded.context, self._size_mb_max())

    def _facts(self, recipe: Recipe) -> dict[str, Any]:
        """What model.json says of how the model was made."""
        passes = [{"name": m.name, **m.cfg.model_dump(mode="json")} for m in recipe]
        return {"passes": passes, "dense_sha256": sha256_tree(self.inputs.dense)}

    def changed(self, folder: Path, base: Scores, scores: Scores, made: Made) -> dict[str, float]:
        """The proof that a recipe had an effect, and that what was written is what was made."""
        reloaded = {} if made.probes is None else {"reload_kl_nats": score.kl_nats(made.probes, scores.probes)}
        left = models.card(folder)["parameters"] / models.card(self.inputs.dense)["parameters"]
        return {
            "changed_share": max(onnx_models.integer_share(folder), 1 - left),
            "output_max_difference": float(np.abs(scores.probes - base.probes).max()),
            "kl_nats_per_token": score.kl_nats(base.probes, scores.probes),
        } | reloaded

    def _probes(self, model: Any, loaded: models.Loaded) -> Any:
        """What the model gives in memory for the documents that tasks.score probes."""
        documents = tokenizer.encode_all(loaded.tokenizer, shards.read(self.inputs.splits / "search"))
        reader = score.causal(models.logits_fn(model), loaded.tokenizer, loaded.context)
        return score.probed(reader, list(documents))

    def _size_mb_max(self) -> float | None:
        """What the contract leaves for the whole folder."""
        asked = self.inputs.contract
        share = None if asked.max_size_share is None else asked.max_size_share * size_mb(self.inputs.dense)
        return min((one for one in (share, asked.max_size_mb) if one is not None), default=None)


@contextmanager
def _plain(held: Held, loaded: models.Loaded) -> Iterator[Path]:
    """The model as it is in memory, as a folder of nightforge.models in fp32, low ranks multiplied out in it alone."""
    with tempfile.TemporaryDirectory(prefix="nightforge-plain-") as folder:
        with multiplied_out(held.model) as model:
            models.save(
                Path(folder), model, loaded.tokenizer, {key: loaded.card[key] for key in ("family", "context_length")}
            )
        yield Path(folder)


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
