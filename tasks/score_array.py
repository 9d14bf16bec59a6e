"""What a model of images or sounds costs a record, and what it makes; tasks/score.py runs it."""

from pathlib import Path

import numpy as np
import torch

from nightforge import array_models, graphs
from nightforge import judge as judges
from tasks import arrays
from tasks.score import PROBES, Scores

PROBE_SEED = 7
SEEN = 512
"""Records, at most, and samples that are looked at by the judge."""


@torch.inference_mode()
def score(model: Path, split: Path, batch_rows: int, judge: Path) -> Scores:
    """Score a model folder on a folder of shards, here and now.

    Each record is scored with draws of its own id, so that two models are compared on the same draws.
    """
    loaded = graphs.load(model)
    given, family = arrays.read(split, loaded.media, loaded.classes), loaded.family
    reader = array_models.load_judge(judge).model
    labels = torch.split(torch.from_numpy(np.resize(given.labels, SEEN)), batch_rows)
    made = torch.cat(
        [family.module.sample(loaded.model, family.cfg, part, PROBE_SEED + i) for i, part in enumerate(labels)]
    )
    return Scores(
        ids=np.array(given.ids),
        documents=np.array(given.documents),
        labels=np.array([*loaded.classes, ""])[given.labels],
        units=np.full(len(given.ids), family.module.units(loaded.shape)),
        nats=array_models.nats(loaded.model, family, given.rows, reader, batch_rows),
        probes=made[:PROBES].flatten(1).numpy(),
        prompts=given.labels[:, None],
        seen_real=judges.read(reader, given.rows.tensors["x"][:SEEN]).features,
        seen_made=judges.read(reader, made).features,
    )
