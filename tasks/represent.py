"""Tells what the train split holds of what, and what of that balancing changed: the representation and bias report."""

from functools import partial
from pathlib import Path
from typing import Any

from nightforge import assets as laid
from nightforge.representation import Representation, census, report
from tasks import shards


def run(cfg: Representation, splits: Path, balanced: Path, assets: Path) -> dict[str, Any]:
    """The report, as metrics; no row is changed.

    Raises:
        AssetMissing: the sample of the target domain is not there.
        DataError: it holds no texts.
    """
    target = None if cfg.target is None else laid.texts(assets, cfg.target)
    before, after = (
        census(partial(shards.read, folder), shards.count(folder), cfg) for folder in (splits / "train", balanced)
    )
    return report(before, after, target, cfg)
