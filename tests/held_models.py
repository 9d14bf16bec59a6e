"""Models on their way out of memory, for tests of exporters."""

import copy
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge import blocks, grids, models
from nightforge.grids import Spec
from nightforge.held import Held, multiplied_out, put
from tests.small_lm import Small

IDS = np.random.default_rng(0).integers(3, 380, (2, 20))


def rounded(small: Small, specs: Mapping[str, Spec]) -> Held:
    """The small model with its layers on grids: the first pattern that fits a layer says which."""
    held = small.held()
    for name, layer in blocks.linears(held.model, list(specs)).items():
        spec = next(spec for pattern, spec in specs.items() if fnmatchcase(name, pattern))
        weight = layer.weight.detach()
        put(held, name, layer, grids.encode(weight, spec, *grids.fit(weight, spec)).tensors())
    return held


def shallow(held: Held) -> Held:
    """Its first block alone, which converters are done with sooner."""
    held.model.model.layers = held.model.model.layers[:1]
    held.model.config.num_hidden_layers = 1
    held.grids = {name: grid for name, grid in held.grids.items() if ".layers.0." in f".{name}" or "layers" not in name}
    return held


def untied(held: Held, spec: Spec) -> Held:
    """With a table of embeddings of its own, on a grid too."""
    table = held.model.get_input_embeddings()
    held.model.lm_head.weight = torch.nn.Parameter(held.model.lm_head.weight.detach().clone())
    held.model.config.tie_word_embeddings = False
    weight = table.weight.detach()
    put(held, blocks.EMBEDDING, table, grids.encode(weight, spec, *grids.fit(weight, spec)).tensors())
    return held


def plain(held: Held, words: Any, folder: Path) -> Path:
    """What the stage hands to an exporter."""
    with multiplied_out(held.model) as model:
        models.save(folder, copy.deepcopy(model), words, {"family": "causal_lm"})
    return folder


def logits(model: Any) -> NDArray[np.float32]:
    """In memory, of IDS."""
    return np.asarray(models.logits_fn(model)(IDS, np.ones_like(IDS)))


def reread(module: ModuleType, folder: Path) -> NDArray[np.float32]:
    """What was written, of IDS."""
    return np.asarray(module.opened(folder)[0](IDS, np.ones_like(IDS)))


def apart(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference of a logit, as a share of their standard deviation: what Artifact.tolerance bounds."""
    return float(np.abs(found - expected).max() / expected.std())
