"""How an encoder-decoder is compressed: the two calls that it answers a prompt with become ONNX graphs."""

import shutil
from itertools import islice
from pathlib import Path

import torch

from nightforge import graphs, methods, models, seq2seq_models, tokenizer
from tasks import shards
from tasks.compress_graphs import Graphs
from tasks.compressing import Inputs, Made, Recipe

CALIBRATION_ROWS = 64
"""Records of the calibration split that are scored, all at once, while the calls are watched."""
KEPT = ("family", "class", "tokenizer_sha256", "parameters", "context_length")
"""What a compressed model's card says as the dense one's does."""


class Compressor(Graphs):
    """What the stage asks of a kind of model."""

    loader = seq2seq_models.LOADER

    def __init__(self, inputs: Inputs) -> None:
        models.check_architecture(inputs.dense, models.SEQ2SEQ)
        loaded = seq2seq_models.load(inputs.dense)
        super().__init__(inputs, loaded.model, watched(loaded, inputs.splits / "calibration"), KEPT)

    def write(self, recipe: Recipe, out: Path, kept: Path) -> Made:
        """Make the compressed model's folder.

        Raises:
            ExportFailed: the recipe stumbled over a graph.
        """
        made = super().write(recipe, out, kept)
        for file in seq2seq_models.FILES:
            if (self.dense / file).is_file():
                shutil.copyfile(self.dense / file, out / file)
        return made


@torch.no_grad()
def watched(loaded: models.Loaded, calibration: Path) -> dict[str, graphs.Part]:
    """The two calls: what they are given as the family scores the calibration split, and more sizes of each axis."""
    family = methods.load("train", loaded.card["family"])
    records = islice(shards.read(calibration), CALIBRATION_ROWS)
    documents = list(tokenizer.encode_all(loaded.tokenizer, records))
    model = loaded.model

    def run() -> None:
        family.nats(model, documents, sum(len(d.ids) for d in documents) * len(documents), loaded.context)
        for width in (2, 3):
            ids = torch.zeros(2, width, dtype=torch.int64)
            mask = torch.ones_like(ids)
            kept = model.encode(ids, mask)
            _, *past = model.decode(ids, mask, *kept, *seq2seq_models.nothing(kept))
            model.decode(ids, mask, *kept, *past)

    return graphs.find(model, run)
