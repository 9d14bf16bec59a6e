"""The training loop: a generator of events, so that whoever drives it decides what to print, plot and save.

AdamW (Loshchilov & Hutter 2019) with decay on matrices only, linear warm-up and cosine to zero, clipping by global
norm, early stopping with the best weights restored. Loss is the mean over the real tokens of the batch, never a mean of
means. On CPU, seed, data, settings and thread count determine every bit, and a run that is restored from
`state()` goes on exactly as if it had not been stopped.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from nightforge.config import Config
from nightforge.errors import DataError
from nightforge.scoring import IGNORE, batches, pieces

POOL_BATCHES = 64
"""Batches whose documents are sorted by length together: little padding, and still a random order."""
BF16_MARGIN = 0.9
"""bf16 is chosen only where it takes less than this share of the time of fp32: below that, rounding is for nothing."""

Loss = Callable[[Any, torch.Tensor], "tuple[torch.Tensor, int]"]
"""(model, batch (rows, seq) padded with IGNORE) → (Σ nats of the predicted tokens, how many)."""


class Settings(Config):
    """How a model is trained."""

    steps: int = Field(ge=1)
    """Optimizer steps at most; the learning rate reaches zero at the last."""
    batch_tokens: int = Field(ge=16)
    """Tokens in a batch, padding included."""
    lr: float = Field(gt=0, lt=1)
    """Peak learning rate."""
    warmup_share: float = Field(ge=0, le=0.5)
    """Share of the steps in which the learning rate rises from zero."""
    weight_decay: float = Field(ge=0, lt=1)
    """AdamW's decay of weight matrices; embeddings, norms and biases have none."""
    beta2: float = Field(gt=0.5, lt=1)
    """AdamW's memory of squared gradients."""
    clip: float = Field(gt=0)
    """Largest global norm of the gradient."""
    eval_every: int = Field(ge=1)
    """Steps between evaluations; each one is also a checkpoint to resume from."""
    patience: int = Field(ge=1)
    """Evaluations without a new best after which training stops."""
    precision: Literal["auto", "fp32", "bf16"]
    """`auto` times a few steps of both and takes bf16 autocast only where it is clearly faster."""
    threads: int = Field(ge=1, le=1024)
    """CPU threads; another count gives other rounding, so it is a value and not the machine's."""


class Corpus(NamedTuple):
    """Encoded documents in one flat array (4 bytes a token), cut to the context."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    """(rows + 1,): row i is ids[starts[i] : starts[i + 1]]."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.starts)

    def batch(self, rows: Sequence[int]) -> torch.Tensor:
        """Rows padded on the right with IGNORE: (rows, seq)."""
        texts = [self.ids[self.starts[row] : self.starts[row + 1]] for row in rows]
        out = np.full((len(rows), max(map(len, texts))), IGNORE, dtype=np.int64)
        for line, text in zip(out, texts, strict=True):
            line[: len(text)] = text
        return torch.from_numpy(out)


class Stepped(NamedTuple):
    """One optimizer step was made."""

    step: int
    loss: float
    """Nats per token."""
    lr: float
    grad_norm: float
    """Global norm before clipping."""
    tokens: int
    """Predicted tokens of the batch."""


class Evaluated(NamedTuple):
    """The model was evaluated; a good moment to save `state(run)`."""

    step: int
    value: float
    best: bool


@dataclass(slots=True)
class Run:
    """A training run between two steps."""

    model: Any
    optimizer: torch.optim.Optimizer
    settings: Settings
    seed: int
    precision: str
    step: int = 0
    stale: int = 0
    """Evaluations since the best."""
    best: float = math.inf
    best_step: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """All steps made, or no new best for too long."""
        return self.step >= self.settings.steps or self.stale >= self.settings.patience


def corpus(documents: Iterable[Sequence[int]], context: int) -> Corpus:
    """Encoded documents, each cut to pieces of at most `context` tokens.

    Raises:
        DataError: there are none.
    """
    rows = [np.array(piece, dtype=np.int32) for d in documents for piece in pieces(d, context)]
    if not rows:
        raise DataError("training: expected at least one document, got none. Is data/balanced empty?")
    return Corpus(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


def device() -> str:
    """The accelerator that torch sees, or the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def start(model: Any, settings: Settings, seed: int, precision: str) -> Run:
    """A run at step zero; the model is already on its device."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2 and id(p) not in tables]
    kept = [p for p in parameters if p.ndim < 2 or id(p) in tables]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": kept, "weight_decay": 0.0}],
        lr=settings.lr,
        betas=(0.9, settings.beta2),
        fused=True,
    )
    return Run(model, optimizer, settings, seed, precision)


def steps(
    run: Run, data: Corpus, loss: Loss, evaluate: Callable[[Any], float], first: tuple[Corpus, int] | None = None
) -> Iterator[Stepped | Evaluated]:
    """Train until the end, from wherever the run stands; then the best weights are in the model.

    Args:
        run: from `start`, or after `restore`.
        data: the training set.
        loss: of the model's family.
        evaluate: of a model in evaluation mode; smaller is better.
        first: a corpus that the first so many steps are drawn from instead; evaluations among these use up no
            patience, and none of their weights is the best.

    Raises:
        DataError: a loss or a gradient is not finite; the model still holds the weights before that step.
    """
    order = islice(_drawn(data, first, run), run.step, None)
    while not run.ended:
        run.model.train()
        corpus, rows = next(order)
        yield _step(run, corpus.batch(rows), loss)
        if run.step % run.settings.eval_every == 0 or run.step == run.settings.steps:
            run.model.eval()
            early = first is not None and run.step <= first[1] and run.step < run.settings.steps
            yield _evaluated(run, evaluate(run.model), early)
    run.model.load_state_dict(run.best_weights)
    run.model.eval()


def _drawn(data: Corpus, first: tuple[Corpus, int] | None, run: Run) -> Iterator[tuple[Corpus, list[int]]]:
    """Where the rows of each step of the run come from, and which they are."""
    if first:
        early, most = first
        yield from ((early, rows) for rows in islice(batch_order(early, run.settings.batch_tokens, run.seed), most))
    yield from ((data, rows) for rows in batch_order(data, run.settings.batch_tokens, run.seed))


def _step(run: Run, batch: torch.Tensor, loss: Loss) -> Stepped:
    lr = learning_rate(run.step, run.settings)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    batch = batch.to(run.model.device)
    with autocast(run.model.device.type, run.precision):
        nats, tokens = loss(run.model, batch)
    run.optimizer.zero_grad()
    (nats / tokens).backward()  # type: ignore[no-untyped-call]
    norm = float(torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.settings.clip))
    value = nats.item() / tokens
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise DataError(
            f"training: step {run.step + 1} has loss {value} and gradient norm {norm}, expected finite numbers. "
            f"Lower train.loop.lr (it was {lr:.2g} there), or lengthen train.loop.warmup_share."
        )
    run.optimizer.step()
    run.step += 1
    return Stepped(run.step, value, lr, norm, tokens)


def _evaluated(run: Run, value: float, early: bool) -> Evaluated:
    if not math.isfinite(value):
        raise DataError(f"training: the evaluation after step {run.step} gave {value}, expected a finite number.")
    better = value < run.best and not early
    run.stale = 0 if better or early else run.stale + 1
    if better:
        run.best, run.best_step = value, run.step
        run.best_weights = {k: v.detach().clone() for k, v in run.model.state_dict().items()}
    return Evaluated(run.step, value, better)


def learning_rate(step: int, settings: Settings) -> float:
    """Linear warm-up, then half a cosine that would reach zero one step after the last. `step` counts from 0."""
    warmup = max(1, round(settings.steps * settings.warmup_share))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - warmup)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * done))


def batch_order(data: Corpus, batch_tokens: int, seed: int) -> Iterator[list[int]]:
    """Batches of row numbers for ever: each epoch is shuffled by (seed, epoch), and every row comes once an epoch."""
    lengths = data.lengths
    pool = max(1, round(POOL_BATCHES * batch_tokens / float(lengths.mean())))
    for epoch in count():
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(lengths))
        for begin in range(0, len(order), pool):
            rows = order[begin : begin + pool]
            grouped = list(batches(lengths[rows].tolist(), batch_tokens))
            for chosen in rng.permutation(len(grouped)):
                yield rows[grouped[chosen]].tolist()


def state(run: Run) -> dict[str, Any]:
    """All that the rest of the run depends on: tensors, numbers and strings only, so it loads with weights_only."""
    generators = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state()
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "generators": generators,
        **{name: getattr(run, name) for name in ("precision", "step", "stale", "best", "best_step", "best_weights")},
    }


def restore(run: Run, saved: dict[str, Any]) -> None:
    """Bring a run from `start` to where `state` was taken."""
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    for name in ("precision", "step", "stale", "best", "best_step", "best_weights"):
        setattr(run, name, saved[name])
    torch.set_rng_state(saved["generators"]["cpu"].cpu())
    if "cuda" in saved["generators"]:
        torch.cuda.set_rng_state(saved["generators"]["cuda"].cpu())


def autocast(device_type: str, precision: str) -> AbstractContextManager[Any]:
    """The context that the forward pass runs in."""
    return torch.autocast(device_type, torch.bfloat16) if precision == "bf16" else nullcontext()


def time_precisions(model: Any, batch: torch.Tensor, loss: Loss, repeats: int = 5) -> dict[str, float]:
    """Seconds of a forward and backward pass in each precision, the best of a few in turns; `model` is unchanged."""
    trial = deepcopy(model).train()
    batch = batch.to(model.device)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(repeats + 1):
        for precision, taken in seconds.items():
            begun = time.perf_counter()
            with autocast(model.device.type, precision):
                nats, tokens = loss(trial, batch)
            (nats / tokens).backward()  # type: ignore[no-untyped-call]
            nats.item()  # waits for an accelerator
            taken.append(time.perf_counter() - begun)
    return {precision: min(taken[1:]) for precision, taken in seconds.items()}  # the first one warmed up


def faster(seconds: dict[str, float]) -> str:
    """The precision to train in, given what each one takes."""
    return "bf16" if seconds["bf16"] < BF16_MARGIN * seconds["fp32"] else "fp32"


def watched(documents: Iterable[str], wanted: int) -> set[str]:
    """The documents that early stopping looks at: `wanted` of them, evenly spaced, and every second at most.

    Evaluation leaves these out, so both ask here. Asked for as many as it gave, it gives the same again.

    Args:
        documents: the document of each record (nightforge.records.document), in the order of the split.
        wanted: documents, above zero.
    """
    every = list(dict.fromkeys(documents))
    return set(every[:: max(2, len(every) // wanted)][:wanted])
