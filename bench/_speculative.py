"""Speculative decoding on a trained model: how often a student's drafts stand, and what that saves.

`python -m bench._speculative MODEL SPLITS`: the drafter is made of the model's own first and last blocks, trained on
the train split against the model; prompts come from the acceptance split. Greedy, with one thread, in CPU seconds, so
that what else the machine does counts little. Prints one JSON line.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from nightforge import models, sampling, scoring, tokenizer
from nightforge.compress import _recover, distill, prune_layers
from nightforge.compress._pass import Given, made_at_once
from nightforge.corpus import corpus
from nightforge.held import Held
from nightforge.speculative import decode
from tasks import shards

BLOCKS, STEPS, BATCH_TOKENS = 1, 400, 1024
PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 24, 4, 48
DRAFTS = (1, 2, 4)
"""Tokens a draft that are tried; the fastest is told."""
VALIDATION_DOCUMENTS = 100


def figures(model: Any, drafter: Any, prompts: list[list[int]], drafts: int) -> dict[str, float]:
    """Share of drafted tokens that stand, tokens a call of the model, and the speed over plain decoding."""
    drafted = accepted = calls = tokens = same = 0
    ratios = []
    for prompt in prompts:
        begun = time.process_time()
        (plain,) = sampling.sample(model, [prompt], NEW_TOKENS, 1.0, 1e-9, 0)  # a nucleus of one token
        between = time.process_time()
        got = decode(model, drafter, prompt, NEW_TOKENS, drafts, 0.0, 1.0, 0)
        ratios.append((between - begun) / (time.process_time() - between))
        drafted, accepted, calls = drafted + got.drafted, accepted + got.accepted, calls + got.calls
        tokens, same = tokens + len(got.tokens), same + (got.tokens == plain)
    return {
        "speculative_drafts": drafts,
        "speculative_acceptance": accepted / drafted,
        "speculative_tokens_per_call": tokens / calls,
        "speculative_speedup": statistics.median(ratios[1:]),  # the first warms up
        "speculative_same": same / len(prompts),
    }


def student(folder: Path, splits: Path) -> Any:
    """A drafter of BLOCKS blocks for the model of a folder."""
    loaded = models.load(folder)

    def documents(split: str) -> list[scoring.Encoded]:
        return list(tokenizer.encode_all(loaded.tokenizer, shards.read(splits / split)))

    looked_at = documents("validation")[:VALIDATION_DOCUMENTS]

    def validate(model: Any) -> float:
        nats = scoring.document_nats(models.logits_fn(model), looked_at, scoring.BATCH_TOKENS, loaded.context)
        return float(nats.sum() / scoring.text_tokens(looked_at).sum())

    given = Given(
        calibration=[],
        teacher=lambda: models.load(folder).model,
        data=lambda: corpus(iter(documents("train")), loaded.context),
        validate=validate,
        size_mb_max=None,
        seed=7,
        keep=made_at_once,
    )
    remove = len(loaded.model.model.layers) - BLOCKS
    held = prune_layers.apply(Held(loaded.model), given, prune_layers.Config(remove=remove, by="even"))
    changes = {"steps": STEPS, "batch_size": BATCH_TOKENS, "eval_every": STEPS // 2, "save_every": STEPS}
    loop = _recover.SAMPLE_LOOP.model_copy(update=changes)
    cfg = distill.Config(loop=loop, alpha=1.0, temperature=1.0, hidden=0.0, trains="all", rank=None, texts=None)
    return distill.apply(held, given, cfg).model


if __name__ == "__main__":
    torch.set_num_threads(1)
    model_folder, splits_folder = map(Path, sys.argv[1:])
    large = models.load(model_folder)
    judged = tokenizer.encode_all(large.tokenizer, shards.read(splits_folder / "acceptance"))
    starts = [document.ids[:PROMPT_TOKENS] for document, _ in zip(judged, range(PROMPTS), strict=False)]
    small = student(model_folder, splits_folder)
    found = [figures(large.model, small, starts, drafts) for drafts in DRAFTS]
    print(json.dumps(max(found, key=lambda one: one["speculative_speedup"])))
