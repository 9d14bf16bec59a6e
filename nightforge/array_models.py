"""Model folders of images and sounds: `model.json` says what the network is, `model.safetensors` holds its weights.

model.json: `loader` "array", `dtype`, `shape` (channels, height, width), `classes` (names; number = place), `media`
(a method of nightforge/media and its values), `parameters`; of a family also `family`, `config` (of its file in
nightforge/train) and `metric`; of the judge `kind` and `config`. What a picture is to the networks of a project is said
once, in `judge.media` of params.yaml: train and evaluate read `media` and `classes` from the judge's folder.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from nightforge import judge, methods
from nightforge.errors import AssetMissing, DataError
from nightforge.methods import Method
from nightforge.models import CARD, card
from nightforge.scoring import LN2

LOADER, WEIGHTS = "array", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in memory, in evaluation mode, with its card (model.json)."""

    model: Any
    card: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.card["shape"]
        return channels, height, width

    @property
    def classes(self) -> list[str]:
        """Names of the labels, in the order of their numbers."""
        return list(self.card["classes"])

    @property
    def media(self) -> Method:
        """How records become arrays, and arrays content."""
        return methods.choose("media", self.card["media"])

    @property
    def family(self) -> Method:
        """The family that the network is of, with its config."""
        return methods.choose("train", {"name": self.card["family"], **self.card["config"]})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device


class Rows(NamedTuple):
    """What a family's score takes."""

    tensors: Mapping[str, torch.Tensor]
    """`x` (rows, channels, height, width) in −1 … 1, `y` (rows,)."""
    seeds: torch.Tensor
    """(rows,), see `row_seeds`."""


def save(folder: Path, model: Any, facts: dict[str, Any]) -> None:
    """Write a model folder: fp32 safetensors and the card, which says `facts` too."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().clone().contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    content = {
        "loader": LOADER,
        "dtype": "float32",
        "parameters": sum(p.numel() for p in model.parameters()),
        **facts,
    }
    (folder / CARD).write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def load(folder: Path, device: str = "cpu") -> Loaded:
    """A family's network from the folder that `save` wrote.

    Raises:
        AssetMissing: no model.json, or no safetensors.
        DataError: another loader, or weights of another network.
    """
    facts = _card(folder)
    family = Loaded(None, facts).family
    model = family.module.build(family.cfg, tuple(facts["shape"]), len(facts["classes"]))
    return Loaded(_filled(model, folder).to(device), facts)


def load_judge(folder: Path, device: str = "cpu") -> Loaded:
    """The judge; its `model` has `features` and `maps`, and gives logits where `card["kind"]` is CLASSIFIER.

    Raises:
        AssetMissing: no model.json, or no safetensors.
        DataError: another loader, or weights of another network.
    """
    facts = _card(folder)
    model = judge.build(judge.Config(**facts["config"]), tuple(facts["shape"]), len(facts["classes"]))
    return Loaded(_filled(model, folder).to(device), facts)


def _card(folder: Path) -> dict[str, Any]:
    facts = card(folder)
    if facts.get("loader") != LOADER:
        raise DataError(f"{folder}/{CARD}: expected loader {LOADER!r}, got {facts.get('loader')!r}.")
    return facts


def _filled(model: Any, folder: Path) -> Any:
    """The network with the weights of a folder; pickled ones are never read, for they could run code."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        raise AssetMissing(f"{folder}: expected {WEIGHTS}, found none; weights are read from safetensors alone.")
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as e:
        raise DataError(
            f"{folder}/{WEIGHTS}: expected the weights of the network that {CARD} describes, got {e}. "
            "Bring the folder back with: dvc checkout"
        ) from None
    return model.eval()


@torch.no_grad()
def nats(model: Any, family: Method, rows: Rows, judge: Any, at_once: int = 256) -> NDArray[np.float64]:
    """The family's score of each row, so many at once: (rows,).

    Args:
        model: in evaluation mode.
        family: of the model, with its config.
        rows: what is scored.
        judge: of the real data, on the model's device.
        at_once: bounds the memory; a score depends on no other row.
    """
    device = next(model.parameters()).device
    found = []
    for begin in range(0, len(rows.seeds), at_once):
        chosen = slice(begin, begin + at_once)
        tensors = {name: value[chosen].to(device) for name, value in rows.tensors.items()}
        found.append(family.module.score(model, family.cfg, tensors, rows.seeds[chosen], judge).double().cpu())
    return np.asarray(torch.cat(found))


def metric(nats: NDArray[np.float64], family: Method, shape: tuple[int, int, int]) -> float:
    """The mean score in the unit that the family's METRIC names."""
    return float(nats.mean() / LN2 / family.module.units(shape))


def row_seeds(ids: list[str]) -> torch.Tensor:
    """The seed of each record, from its id: what `score` draws with, the same for every model. (rows,)"""
    return torch.tensor([xxhash.xxh64_intdigest(one.encode()) >> 1 for one in ids], dtype=torch.int64)
