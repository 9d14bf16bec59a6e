"""Training of a compressed model, by the loop that trains all: against the dense model, the ground truth, or both."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field
from torch.nn import functional

from nightforge import activations, config, loop
from nightforge.compress._pass import Footprint, Given
from nightforge.compress._trained import Trains, attach, settle, state
from nightforge.compress._written import Written, written
from nightforge.errors import ConfigError, DataError
from nightforge.held import Held, Tensors
from nightforge.precision import device
from nightforge.scoring import IGNORE
from nightforge.training import At, Settings, Turn

FIGURES = "figures"
NAMES = ("nats_before", "nats_after", "nats_teacher", "best_step")


class Config(config.Config):
    """How a compressed model is trained."""

    loop: Settings
    """The training loop's settings; `precision` says which, and `compile` is false."""
    alpha: float = Field(ge=0, le=1)
    """Share of the teacher in the loss; the rest is of the ground truth. The teacher is the dense model."""
    temperature: float = Field(gt=0)
    """Divides the logits of both before they are compared: above 1, unlikely tokens count for more."""
    hidden: float = Field(ge=0)
    """Weight of the squared distance of the blocks' outputs to the teacher's, relative to these; 0 looks at none."""


SAMPLE_LOOP = Settings(
    steps=12,
    batch_size=512,
    accumulate=1,
    optimizer={"name": "adamw", "lr": 2e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0},
    schedule={"name": "cosine", "warmup_share": 0.1, "floor": 0.0},
    clip=1.0,
    l1=0.0,
    ema=None,
    eval_every=6,
    save_every=12,
    patience=3,
    precision="fp32",
    compile=False,
    recompute=False,
    threads=1,
    watch={"every": 1000, "watchers": []},
)


def check(name: str, cfg: Config) -> None:
    """Refuse what would have to be measured with a clock: a pass gives the same twice.

    Raises:
        ConfigError: the precision is to be found out, or the network is to be compiled.
    """
    if cfg.loop.precision == "auto" or cfg.loop.compile:
        raise ConfigError(
            f"compress: {name}: expected loop.precision to be fp32, bf16 or fp16 and loop.compile to be false, got "
            f"{cfg.loop.precision} and {cfg.loop.compile}."
        )


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """Training makes no tensor smaller."""
    return dict(footprints)


def recover(
    held: Held,
    given: Given,
    cfg: Config,
    trains: Trains,
    rank: int | None,
    latent: Tensors | None = None,
    texts: Written | None = None,
) -> dict[str, float]:
    """Train what may be trained, and keep what scored best on the validation split, the start included.

    What training gave is kept under one key, so that a run that was cut off does not train twice.

    Args:
        held: changed in place.
        given: all of it is used but the calibration rows and the size.
        cfg: of the training.
        trains, rank, latent: see `attach`.
        texts: what the teacher writes to be trained on; without it, the train split is.

    Returns:
        Nats per token on validation, `nats_before` and `nats_after`, of the teacher too where there is one
        (`nats_teacher`), and the `best_step`, 0 where nothing that was tried was better.

    Raises:
        ConfigError: the teacher has other tokens, or blocks of another width.
        DataError: the teacher is worse than the model that it should teach.
    """
    attach(held, trains, rank, given.seed, latent or {})
    held.model.to(device())
    with _threads(cfg.loop.threads):
        trained = given.keep("trained", lambda: _train(held, given, cfg, texts))
    figures = dict(zip(NAMES, trained.pop(FIGURES).tolist(), strict=True))
    held.model.load_state_dict(trained, strict=False)
    settle(held)
    held.model.eval()
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _train(held: Held, given: Given, cfg: Config, texts: Written | None) -> Tensors:
    """The trained numbers by name, and the figures in the order of NAMES; NaN stands for one that there is not."""
    model, before = held.model, given.validate(held.model)
    needed = cfg.alpha or cfg.hidden or texts
    teacher = _teacher(given, model, before, cfg.hidden > 0) if needed else None
    if cfg.loop.recompute:
        activations.recompute(model)

    def loss(network: Any, tensors: Mapping[str, torch.Tensor], at: At) -> tuple[torch.Tensor, dict[str, float]]:
        return distance(network, teacher, tensors, cfg)

    run = loop.start(model, [Turn("", "", loss)], cfg.loop, given.seed, cfg.loop.precision)
    run.best, run.best_weights = before, {k: v.detach().clone() for k, v in model.state_dict().items()}
    split = given.data()
    data = written(teacher, split, texts, given.seed) if texts else split
    for _ in loop.steps(run, data, given.validate):
        pass
    if cfg.loop.recompute:
        model.gradient_checkpointing_disable()
    taught = math.nan if teacher is None else given.validate(teacher)
    return state(model) | {FIGURES: torch.tensor([before, run.best, taught, run.best_step], dtype=torch.float64)}


def distance(
    model: Any, teacher: Any, tensors: Mapping[str, torch.Tensor], cfg: Config
) -> tuple[torch.Tensor, dict[str, float]]:
    """(1 − α) · nats + α · T² · KL(teacher ‖ student) + hidden · distance of the blocks, summed over learnt tokens.

    Hinton et al. 2015, arXiv 1503.02531, §2, on logits at temperature T. The blocks' outputs are compared as in
    TinyBERT (Jiao et al. 2020, arXiv 1909.10351, eq. 8), each distance divided by the mean square of the teacher's; a
    student with fewer blocks has each of its own compared with the teacher's at the same share of the depth.

    Args:
        model: the student.
        teacher: none where neither α nor `hidden` is above zero.
        tensors: as nightforge.corpus.Corpus.batch gives them.
        cfg: the weights of the three.
    """
    ids, targets = tensors["ids"], tensors["targets"][:, 1:]
    learnt = targets != IGNORE
    places = {"position_ids": tensors["positions"][:, :-1]} if "positions" in tensors else {}
    asked = {"input_ids": ids[:, :-1].clamp_min(0), "use_cache": False, **places}
    asked["output_hidden_states"] = cfg.hidden > 0
    out = model(**asked)
    logits = out.logits[learnt].float()  # (tokens, vocab)
    nats = functional.cross_entropy(logits, targets[learnt], reduction="sum")
    total, seen = (1 - cfg.alpha) * nats, {"nats": float(nats.detach())}
    if not (cfg.alpha or cfg.hidden):
        return total, seen
    with torch.no_grad():
        known = teacher(**asked)
    if cfg.alpha:
        t = cfg.temperature
        ours, theirs = (functional.log_softmax(x / t, dim=-1) for x in (logits, known.logits[learnt].float()))
        divergence = functional.kl_div(ours, theirs, reduction="sum", log_target=True)
        total = total + cfg.alpha * t**2 * divergence
        seen["divergence"] = float(divergence.detach())
    if cfg.hidden:
        apart = _apart([x[learnt] for x in out.hidden_states[1:]], [x[learnt] for x in known.hidden_states[1:]])
        total = total + cfg.hidden * apart
        seen["hidden"] = float(apart.detach())
    return total, seen


def _apart(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> torch.Tensor:
    """Σ over tokens of the mean over blocks of the relative squared distance; each is (tokens, width)."""
    blocks = len(ours)
    pairs = ((x.float(), theirs[(i + 1) * len(theirs) // blocks - 1].float()) for i, x in enumerate(ours))
    each = [(x - y).square().mean(1).sum() / y.square().mean() for x, y in pairs]
    return torch.stack(each).sum() / blocks


def _teacher(given: Given, student: Any, before: float, hidden: bool) -> Any:
    """The dense model, which must know more than the student, in the same words."""
    teacher = given.teacher().to(student.device).eval().requires_grad_(False)
    ours, theirs = student.config.get_text_config(), teacher.config.get_text_config()
    for what in ("vocab_size", *(("hidden_size",) if hidden else ())):
        if getattr(ours, what) != getattr(theirs, what):
            raise ConfigError(
                f"compress: distillation: expected a teacher with the student's {what}, {getattr(ours, what)}, got "
                f"{getattr(theirs, what)}. Set {'hidden' if what == 'hidden_size' else 'alpha'} to 0."
            )
    if (known := given.validate(teacher)) > before:
        raise DataError(
            f"compress: distillation: expected a teacher that is no worse than the student on the validation split, "
            f"got {known:.4f} nats per token against {before:.4f}. Set alpha and hidden to 0."
        )
    return teacher


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many CPU threads, and as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
