"""What our own recipes make of a model: by the product's own compressor, as the stage compress runs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench._halves import DATA, Half
from bench._peers import CALIBRATION_TOKENS, kept
from nightforge.contract import Contract
from tasks.compress_text import Compressor
from tasks.compressing import CompressConfig, Inputs

Passes = list[dict[str, Any]]
SEED = 7
EXPORT = {"name": "onnx_genai", "execution_provider": "cpu", "timeout_s": 1_800, "accuracy_level": 4, "rest": "fp16"}
MEASURING = {"search": "all", "budget_minutes": 600, "pareto": None, "resamples": 100, "batch_tokens": 4_096} | {
    "rounds": 1,
    "prompts": 2,
    "new_tokens": 2,
}
"""What the stage asks for and a recipe does not."""


def compressor(half: Half, recipes: Mapping[str, Passes], size_mb_max: float | None) -> Compressor:
    """The product's compressor of a model, for these recipes; what passes that place bits may spend in MB."""
    cfg = {"recipes": recipes, "export": EXPORT, "calibration_tokens": CALIBRATION_TOKENS, **MEASURING}
    limits = {name: None for name in Contract.model_fields if name.startswith("max_")}
    asked = {"confidence": 0.95, **limits, "max_latency_ratio": 1.0, "max_size_mb": size_mb_max}
    inputs = (CompressConfig.model_validate(cfg), Contract.model_validate(asked))
    return Compressor(Inputs(*inputs, SEED, half.dense, half.splits, {}))


def ours(half: Half, recipes: Mapping[str, Passes], name: str, size_mb_max: float) -> Path:
    """The folder that ONNX Runtime GenAI loads, out of a recipe.

    Args:
        half: the model.
        recipes: name → passes.
        name: of the recipe. Of two that differ in what they train at the end, the second goes on from the first.
        size_mb_max: what passes that place bits may spend.
    """
    made_by = compressor(half, recipes, size_mb_max)
    recipe = made_by.inputs.cfg.recipes[name]
    made_by.check(recipe)

    before = [method for method in recipe if method.module.KIND != "train"]
    passes = DATA / half.name / f"passes-{made_by.key(before)}"

    def make(out: Path, work: Path) -> None:
        made = made_by.write(name, recipe, out, passes)
        if any(made.facts["skipped"].values()):
            print(f"[{half.name}] {name}: skipped {made.facts['skipped']}", flush=True)

    return kept(half, f"ours-{name}", made_by.key(recipe), make)
