"""`nightforge curve`: what zeros cost the dense model of the project at hand, from none to nine in ten."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nightforge import methods, models
from nightforge.compress._curve import RATES, Point, curve
from nightforge.contract import Contract
from nightforge.errors import AssetMissing, ConfigError
from tasks import recipes, stage, wiring
from tasks.compress_text import Compressor
from tasks.compressing import CompressConfig, Inputs

PASSES = ("magnitude", "wanda", "sparsegpt")


def main(name: str, layers: list[str]) -> int:
    """Print sparsity, nats per token of the validation split, and the perplexity over the dense one's."""
    points = measured(name, layers)
    print("zeros   nats a token   × perplexity")
    dense = 0.0
    for point in points:
        dense = dense or point.nats
        print(f"{point.sparsity:>5.0%} {point.nats:>14.4f} {math.exp(point.nats - dense):>14.3g}", flush=True)
    return 0


def measured(name: str, layers: list[str]) -> Iterator[Point]:
    """The curve of a pass over layers that patterns name; what was measured once is kept beside the DVC cache.

    Raises:
        ConfigError: it is no pass that puts weights to zero at a rate, or the model is no language model.
        AssetMissing: there is no model yet.
    """
    if name not in PASSES:
        raise ConfigError(f"curve: expected one of {', '.join(PASSES)}, got {name!r}.")
    values, wired = wiring.read_yaml(Path("params.yaml")), wiring.stage("compress")
    dense, splits = wired.paths["dense"], wired.paths["splits"]
    if not (dense / models.CARD).is_file():
        raise AssetMissing(f"{dense}: expected the dense model, got nothing there. Run first: dvc repro train")
    card = models.card(dense)
    if (card["loader"], card.get("class", models.CAUSAL)) != ("transformers", models.CAUSAL):
        raise ConfigError(f"curve: expected a causal language model in {dense}, got {card['family']}.")
    cfg: CompressConfig = stage.value(wired, values, "cfg", CompressConfig)
    contract: Contract = stage.value(wired, values, "contract", Contract)
    inputs = Inputs(cfg, contract, stage.value(wired, values, "seed", int), dense, splits, {})
    sample = methods.load("compress", name).SAMPLE
    method = methods.choose("compress", {"name": name} | sample.model_dump(mode="json") | {"layers": layers})
    compressor = Compressor(inputs)
    compressor.check([method])
    loaded = models.load(dense)
    may_ask = recipes.given(inputs, loaded.tokenizer, loaded.context, None)
    kept = stage.own(stage.work_root() / f"curve-{compressor.key([method])}")
    return curve(method.module, method.cfg, replace(may_ask, keep=recipes.keeper(kept)), RATES)
