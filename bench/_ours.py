"""What our own recipes make of a model: by the product's own compressor, as the stage compress runs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bench._halves import DATA, ROOT, Half
from bench._peers import CALIBRATION_TOKENS, kept
from nightforge.contract import Contract
from tasks.compress_text import Compressor
from tasks.compressing import CompressConfig, Inputs

Passes = list[dict[str, Any]]
SEED = 7
STAGE = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
EXPORT = STAGE["compress"]["export"] | {"timeout_s": 1_800, "rest": "fp16"}


def compressor(half: Half, recipes: Mapping[str, Passes]) -> Compressor:
    """The product's compressor of a model, for these recipes; all else as in params.yaml."""
    own = {"recipes": recipes, "search": "all", "pareto": None, "also": {}, "export": EXPORT}
    cfg = STAGE["compress"] | own | {"calibration_tokens": CALIBRATION_TOKENS}
    inputs = (CompressConfig.model_validate(cfg), Contract.model_validate(STAGE["contract"]))
    return Compressor(Inputs(*inputs, SEED, half.dense, half.splits, {}))


def ours(half: Half, recipes: Mapping[str, Passes], name: str) -> Path:
    """The folder that ONNX Runtime GenAI loads, out of a recipe.

    Args:
        half: the model.
        recipes: name → passes.
        name: of the recipe. Two that begin alike share what these passes made.
    """
    made_by = compressor(half, recipes)
    recipe = made_by.inputs.cfg.recipes[name]
    made_by.check(recipe)

    passes = DATA / half.name / f"passes-{made_by.key([])}"

    def make(out: Path, work: Path) -> None:
        made = made_by.write(recipe, out, passes)
        if any(made.facts["skipped"].values()):
            print(f"[{half.name}] {name}: skipped {made.facts['skipped']}", flush=True)

    return kept(half, f"ours-{name}", made_by.key(recipe), make)
