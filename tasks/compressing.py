"""What the stage compress and the kinds of models that it compresses say to each other."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nightforge import config
from nightforge.cards import Card
from nightforge.contract import Contract
from nightforge.errors import ConfigError
from nightforge.methods import Chosen, Method
from tasks.hashing import sha256_tree
from tasks.score import Scores
from tasks.stage import CODE_ROOT

Recipe = list[Method]
Choice = int | float | str | bool | None


class Pareto(config.Config):
    """A search over the values of recipes."""

    trials: int = Field(ge=1, le=10_000)
    """Recipes that are made and measured."""

    vary: dict[str, Annotated[list[Choice], Field(min_length=2)]]
    """Address of a value in `recipes`, as `<recipe>.<number of the pass, from 0>.<value>`, such as
    `int4_gptq.0.block_size`, → what is tried for it."""


class CompressConfig(config.Config):
    """The recipes to try, and how each is measured."""

    search: Literal["ladder", "all", "pareto"]
    """`ladder` tries the recipes in their order, and stops at the first that keeps the contract; `all` makes every one
    and takes the best; `pareto` explores `pareto.vary`, takes the best and reports the front."""

    budget_minutes: float = Field(gt=0)
    """After so many no further recipe is begun."""

    recipes: Annotated[
        dict[str, Annotated[list[Annotated[Method, Chosen("compress")]], Field(min_length=1)]], Field(min_length=1)
    ]
    """Name (of the folder under models/candidates) → passes, in order; the cheapest recipe first."""

    pareto: Pareto | None
    """What a search explores; null unless search is pareto."""

    export: Annotated[Method, Chosen("export")]
    """What the compressed model is written for."""

    also: dict[str, Annotated[Method, Chosen("export")]]
    """Folder under models/artifacts → exporter: what else the chosen model is written for; only for language models."""

    calibration_tokens: int | None = Field(ge=256)
    """Tokens of the calibration split that passes over a language model look at; null for others."""

    resamples: int = Field(ge=100, le=1_000_000)
    """Times that the documents are drawn again for an interval."""

    batch_tokens: int = Field(ge=64)
    """Bound on rows × padded length of a batch while scoring; an image or a sound counts as one."""

    rounds: int = Field(ge=1, le=20)
    """Times that a model is timed, in turns with the dense one; the median round counts."""

    prompts: int = Field(ge=2, le=1_000)
    """Prompts of a round, or labels of images and sounds; the first warms up."""

    new_tokens: int = Field(ge=2, le=4_096)
    """Tokens generated after each prompt, or samples made of each label."""

    @model_validator(mode="after")
    def _searched(self) -> Self:
        if (self.search == "pareto") != (self.pareto is not None):
            raise ValueError("pareto holds the values of search: pareto, and is null otherwise")
        for name in self.recipes:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"recipes: {name!r} names a folder: use letters, digits, - and _")
        return self


class Inputs(NamedTuple):
    """What a compressor is made of."""

    cfg: CompressConfig
    contract: Contract
    seed: int
    dense: Path
    splits: Path
    deps: Mapping[str, Path]


class Made(NamedTuple):
    """A compressed model's folder was written."""

    facts: dict[str, Any]
    """Of the recipe, for the metrics: layers that were skipped and why, what passes noted."""
    probes: NDArray[np.float32] | None
    """What the model gave in memory, before it was written: logits (tokens, vocab) of the documents that
    tasks.score probes. None where nothing is compared."""


class Compressor(Protocol):
    """What the stage asks of a kind of model; tasks/compress_<kind>.py has one, made of Inputs."""

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that cannot be, before any work: ConfigError."""

    def least_mb(self, recipe: Recipe) -> float:
        """The least that its weights can weigh, in MB (10⁶ bytes), from shapes alone."""

    def key(self, recipe: Recipe) -> str:
        """Equal for what gives equal folders: of the recipe, what it reads and its code."""

    def write(self, recipe: Recipe, out: Path, kept: Path) -> Made:
        """Make the compressed model's folder; `kept` is a folder that survives a crash."""

    def artifacts(self, recipe: Recipe, out: Path, kept: Path, card: Card) -> dict[str, dict[str, Any]]:
        """Write the recipe's model for what `also` names, and tell of each; see tasks.artifacts.write_all."""

    def changed(self, folder: Path, base: Scores, scores: Scores, made: Made) -> dict[str, float]:
        """The proof that a recipe had an effect, and that what was written is what was made."""


def in_order(recipe: Recipe) -> None:
    """Each pass must be able to follow those before it.

    Raises:
        ConfigError: it is not, with the pairs that do not fit.
    """
    for at, method in enumerate(recipe):
        after: set[str] = getattr(method.module, "AFTER", set())
        for before in recipe[:at]:
            if (kind := getattr(before.module, "KIND", None)) not in after:
                raise ConfigError(
                    f"compress.recipes: {method.name} cannot come after {before.name}: it follows passes that "
                    f"{' or '.join(sorted(after)) or 'are not there, it must be the first'}, and {before.name} is one "
                    f"to {kind or 'rewrite graphs'}."
                )


def key(inputs: Inputs, recipe: Recipe) -> str:
    """Equal for what gives equal folders: passes, exporter, model, data, seed, the size that is asked, code, packages.

    The search split counts, for the outputs that are kept beside a folder are of its records.
    """
    told = {
        "recipe": [[m.name, m.cfg.model_dump(mode="json")] for m in recipe],
        "export": [inputs.cfg.export.name, inputs.cfg.export.cfg.model_dump(mode="json")],
        "size": [inputs.contract.max_size_mb, inputs.contract.max_size_share],
        "calibration_tokens": inputs.cfg.calibration_tokens,
        "seed": inputs.seed,
    }
    h = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    read = [inputs.dense, *(inputs.splits / name for name in ("calibration", "train", "validation", "search"))]
    for path in read:
        if path.exists():
            h.update(sha256_tree(path).encode())
    code = sorted(file for room in ("nightforge", "tasks") for file in (CODE_ROOT / room).rglob("*.py"))
    for file in [*code, CODE_ROOT / "requirements.lock"]:
        h.update(file.read_bytes())
    return h.hexdigest()[:16]
