"""train: fit the model on data/balanced, watched on the validation split; if it was killed, it goes on."""

import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from nightforge import entities, loop, models, scoring, tokenizer
from nightforge.config import Config
from nightforge.errors import ConfigError, SourceMoved
from nightforge.methods import Chosen, Method
from nightforge.records import Record, document
from tasks import shards
from tasks.hashing import sha256_file
from tasks.progress import report
from tasks.stage import Measured
from tasks.wiring import home_folder

SCRATCH = "scratch"
CHECKPOINT = "checkpoint.pt"
BOARDS = Path(".nightforge/tensorboard/train")
"""TensorBoard's event files carry the time of day, so they are no output of the stage: `tensorboard --logdir` here."""


class Told(Config):
    """How the facts of data/knowledge take part."""

    order: Literal["mixed", "first"]
    """`mixed`: among the other rows. `first`: training begins on them alone, and goes on with the other rows."""
    first_share: float = Field(gt=0, lt=1)
    """Share of the steps that see told facts alone, where they come first."""


class TrainConfig(Config):
    """What is trained, and how."""

    model: str
    """`scratch`, or a local Hugging Face folder to start from, as `nightforge snapshot` recorded it. A relative one is
    looked for in the home checkout, for a worktree lacks what git ignores."""
    family: Annotated[Method, Chosen("train")]
    """The kind of network, its shape and its vocabulary; of a starting model only its context applies."""
    loop: loop.Settings
    """The optimizer, its schedule and when it stops."""
    knowledge: Told
    """How told facts take part; nothing where the stage `knowledge` has no sources."""
    eval_documents: int = Field(ge=1)
    """Documents of the validation split, evenly spaced and every second at most, that early stopping looks at; evaluate
    scores the others."""


def run(
    cfg: TrainConfig,
    seed: int,
    base: Path,
    balanced: Path,
    splits: Path,
    knowledge: Path,
    entity_vectors: Path,
    dense: Path,
    work: Path,
    plots: Path,
) -> Measured:
    """Train, keep the best weights, and write the model folder, the curves and the figures."""
    begun = time.perf_counter()
    check_base(base, cfg.model)
    torch.set_num_threads(cfg.loop.threads)
    torch.manual_seed(seed)
    texts = Texts(balanced, knowledge, cfg.knowledge.order)
    model, words = _starting_model(cfg, texts, entity_vectors)
    context = min(shape(cfg).context, models.context_length(model))
    data = loop.corpus(tokenizer.encode_all(words, texts.main()), context)
    first = texts.first(cfg, words, context)
    watched = loop.watched(map(document, shards.read(splits / "validation")), cfg.eval_documents)
    evaluate = _evaluation(words, splits / "validation", watched, context)
    training, rows, timed = _begin(cfg, seed, model.to(loop.device()), data, work)
    resumed, tokens = training.step, 0
    prepared = time.perf_counter()
    for event in _logged(loop.steps(training, data, cfg.family.module.loss, evaluate, first), work.name):
        rows.append(list(event))
        if isinstance(event, loop.Stepped):
            tokens += event.tokens
        else:
            report(event.step, cfg.loop.steps, f"steps, {_summary(rows)}")
            _save(work / CHECKPOINT, {"run": loop.state(training), "rows": rows, "timed": timed})
    ended = time.perf_counter()
    _write_curves(plots, rows)
    facts = {"family": cfg.family.name, "precision": training.precision, "context_length": context}
    models.save(dense, training.model.cpu(), words, facts | {"watched_documents": len(watched)})
    (work / CHECKPOINT).unlink(missing_ok=True)
    speed = {
        "seconds": time.perf_counter() - begun,
        "tokens_per_s": tokens / (ended - prepared),
        "resumed_from_step": resumed,
        "precision": training.precision,
        "precision_seconds_per_step": timed,
        "device": loop.device(),
        "threads": cfg.loop.threads,
        "torch": torch.__version__,
    }
    return Measured(_metrics(training, rows, data, context) | _epochs(rows, data, first, texts), speed)


def shape(cfg: TrainConfig) -> Any:
    """The chosen family's own config; every family has `vocab` and `context`, in tokens."""
    return cfg.family.cfg


def check_base(base: Path, wanted: str) -> None:
    """The starting model must be the one that models/base.json recorded.

    Raises:
        SourceMoved: another one is named, or a file of it has changed.
    """
    recorded = json.loads(base.read_text(encoding="utf-8"))
    if (named := recorded.get("folder", SCRATCH)) != wanted:
        raise SourceMoved(f"{base}: records {named!r}, params.yaml names {wanted!r}. Run: nightforge snapshot")
    for name, sha256 in recorded.get("files", {}).items():
        path = home_folder() / wanted / name
        if not path.is_file() or sha256_file(path) != sha256:
            raise SourceMoved(f"{path}: not the file that {base} recorded. Run: nightforge snapshot")


class Texts(NamedTuple):
    """What is trained on."""

    balanced: Path
    knowledge: Path
    order: str

    def main(self) -> Iterator[Record]:
        """The rows of the run's main part."""
        return chain(shards.read(self.balanced), shards.read(self.knowledge) if self.order == "mixed" else ())

    def all(self) -> Iterator[Record]:
        """Every row."""
        return chain(shards.read(self.balanced), shards.read(self.knowledge))

    def first(self, cfg: TrainConfig, words: Any, context: int) -> tuple[loop.Corpus, int] | None:
        """The rows that training begins on alone, and for how many steps."""
        if self.order == "mixed" or not shards.count(self.knowledge):
            return None
        told = loop.corpus(tokenizer.encode_all(words, shards.read(self.knowledge)), context)
        return told, round(cfg.loop.steps * cfg.knowledge.first_share)


def _starting_model(cfg: TrainConfig, texts: Texts, entity_vectors: Path) -> tuple[Any, Any]:
    """The network and its tokenizer, with a token for every label of the training set, and for the chosen entities.

    Raises:
        ConfigError: the vocabulary has no room for them.
    """
    labels = {record.label for record in texts.all() if record.label}
    rows = list(shards.rows(entity_vectors))
    if cfg.model == SCRATCH:
        every = (record.text for record in texts.all())
        room = shape(cfg).vocab - len(rows)
        words = tokenizer.train(every, labels, max(0, room), shape(cfg).context)
        if rows and len(words) > room:
            raise ConfigError(
                f"train.family.vocab: expected {len(words)} or more beside the {len(rows)} tokens of entities, got "
                f"{shape(cfg).vocab} in all. Raise it, or lower knowledge.entities.tokens."
            )
        model = cfg.family.module.build(cfg.family.cfg, words)
    else:
        models.check_architecture(home_folder() / cfg.model)
        model, words = models.read_transformers(home_folder() / cfg.model)
        tokenizer.add_labels(words, labels)
        if len(words) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(words), mean_resizing=False)
    if rows:
        places = np.array([row["vector"] for row in rows], dtype=np.float32)
        entities.give_tokens(model, words, [row["name"] for row in rows], places)
    return model, words


def _evaluation(words: Any, validation: Path, watched: set[str], context: int) -> Callable[[Any], float]:
    """Bits per byte of the watched documents under a model."""
    records = [record for record in shards.read(validation) if document(record) in watched]
    encoded = list(tokenizer.encode_all(words, records))
    size = scoring.text_bytes([r.text for r in records]).sum()

    def bpb(model: Any) -> float:
        nats = scoring.document_nats(models.logits_fn(model), encoded, scoring.BATCH_TOKENS, context)
        return float(nats.sum() / size / scoring.LN2)

    return bpb


def _begin(
    cfg: TrainConfig, seed: int, model: Any, data: loop.Corpus, work: Path
) -> tuple[loop.Run, list[list[Any]], dict[str, float]]:
    """The run, fresh or from its checkpoint; the events so far; what each precision took, if that was measured."""
    saved: dict[str, Any] = {"rows": [], "timed": {}}
    if (work / CHECKPOINT).exists():
        saved = torch.load(work / CHECKPOINT, weights_only=True, map_location=model.device)
        report(saved["run"]["step"], cfg.loop.steps, "steps were made before; going on from there")
    precision = saved["run"]["precision"] if "run" in saved else cfg.loop.precision
    if precision == "auto":
        first = next(loop.batch_order(data, cfg.loop.batch_tokens, seed))
        saved["timed"] = loop.time_precisions(model, data.batch(first), cfg.family.module.loss)
        precision = loop.faster(saved["timed"])
    training = loop.start(model, cfg.loop, seed, precision)
    if "run" in saved:
        loop.restore(training, saved["run"])
    return training, saved["rows"], saved["timed"]


def _save(path: Path, content: dict[str, Any]) -> None:
    """Written whole or not at all, also if the machine is switched off."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as f:
        torch.save(content, f)
        f.flush()
        os.fsync(f.fileno())
    partial.replace(path)


def _logged(events: Iterator[Any], name: str) -> Iterator[Any]:
    """The same events, shown in TensorBoard as they pass."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(BOARDS / name)) as board:
        for event in events:
            kind = "train" if isinstance(event, loop.Stepped) else "validation"
            for field, value in event._asdict().items():
                if field not in {"step", "best", "tokens"}:
                    board.add_scalar(f"{kind}/{field}", value, event.step)
            yield event


def _steps(rows: list[list[Any]]) -> list[loop.Stepped]:
    return [loop.Stepped(*row) for row in rows if len(row) == len(loop.Stepped._fields)]


def _evaluations(rows: list[list[Any]]) -> list[loop.Evaluated]:
    return [loop.Evaluated(*row) for row in rows if len(row) == len(loop.Evaluated._fields)]


def _summary(rows: list[list[Any]]) -> str:
    return f"loss {_steps(rows[-50:])[-1].loss:.3f} nats per token, {_evaluations(rows)[-1].value:.4f} bits per byte"


def _write_curves(plots: Path, rows: list[list[Any]]) -> None:
    plots.mkdir(parents=True, exist_ok=True)
    curves: dict[str, tuple[tuple[str, ...], list[Any]]] = {
        "steps.csv": (loop.Stepped._fields, _steps(rows)),
        "validation.csv": (("step", "bpb", "best"), [(e.step, e.value, int(e.best)) for e in _evaluations(rows)]),
    }
    for name, (header, lines) in curves.items():
        with (plots / name).open("w", newline="", encoding="utf-8") as f:
            csv.writer(f, lineterminator="\n").writerows([header, *lines])


def _metrics(training: loop.Run, rows: list[list[Any]], data: loop.Corpus, context: int) -> dict[str, Any]:
    made = _steps(rows)
    return {
        "steps": training.step,
        "stopped_early": int(training.step < training.settings.steps),
        "tokens": sum(step.tokens for step in made),
        "loss_last": sum(s.loss for s in made[-50:]) / len(made[-50:]),
        "bpb_best": training.best,
        "best_step": training.best_step,
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "context": context,
        "rows": len(data.lengths),
    }


def _epochs(
    rows: list[list[Any]], data: loop.Corpus, first: tuple[loop.Corpus, int] | None, texts: Texts
) -> dict[str, float]:
    """How often the rows of the main part were passed over, and the told ones, if there are any."""

    def passes(corpus: loop.Corpus, made: list[loop.Stepped]) -> float:
        # The first token of a row is never predicted.
        return sum(step.tokens for step in made) / (len(corpus.ids) - len(corpus.lengths))

    made, early = _steps(rows), first[1] if first else 0
    main = passes(data, made[early:])
    told = main if shards.count(texts.knowledge) else 0.0
    return {"epochs": main, "told_epochs": passes(first[0], made[:early]) if first else told}
