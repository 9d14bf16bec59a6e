"""Text for the training loop: tokenizer, starting model, rows, and what early stopping looks at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nightforge import entities, models, scoring, tokenizer
from nightforge.batching import watched
from nightforge.corpus import Corpus, corpus
from nightforge.errors import ConfigError
from nightforge.records import Record, document, written
from nightforge.training import Stepped
from tasks import shards
from tasks.prepared import SCRATCH, Inputs, Prepared, TrainConfig
from tasks.wiring import home_folder

SAMPLE_TOKENS, TEMPERATURE, TOP_P = 40, 0.8, 0.95
"""Of the texts written at every evaluation, one a label."""


def prepare(cfg: TrainConfig, seed: int, inputs: Inputs) -> Prepared:
    """The model and its data, ready for the loop; weights are drawn from torch's generator as the caller seeded it."""
    texts = Texts(inputs.balanced, inputs.deps.get("knowledge"), cfg.knowledge.order if cfg.knowledge else "mixed")
    labels = {record.label for record in texts.all() if record.label}
    model, words = _starting_model(cfg, texts, labels, inputs.deps.get("entity_vectors"))
    context = min(cfg.family.cfg.context, models.context_length(model))  # type: ignore[attr-defined]
    data = corpus(tokenizer.encode_all(words, texts.main()), context)
    first = texts.first(cfg, words, context)
    validation = inputs.splits / "validation"
    held = watched(map(document, shards.read(validation)), cfg.eval_documents)

    def save(folder: Path, trained: Any, facts: dict[str, Any]) -> None:
        models.save(folder, trained, words, facts | {"context_length": context, "watched_documents": len(held)})

    def metrics(made: Sequence[Stepped]) -> dict[str, Any]:
        shape = {"context": context, "rows": len(data.sizes), "documents_cut": data.cut, "rows_mute": data.mute}
        return shape | _epochs(made, data, first, texts)

    return Prepared(
        model=model,
        data=data,
        first=first,
        evaluate=_evaluation(words, validation, held, context),
        metric="bpb",
        sample=_samples(cfg, words, sorted(labels), seed),
        save=save,
        metrics=metrics,
    )


class Texts(NamedTuple):
    """What is trained on."""

    balanced: Path
    knowledge: Path | None
    order: str

    def told(self) -> Iterator[Record]:
        """The rows of told facts."""
        return shards.read(self.knowledge) if self.knowledge else iter(())

    def main(self) -> Iterator[Record]:
        """The rows of the run's main part."""
        return chain(shards.read(self.balanced), self.told() if self.order == "mixed" else ())

    def all(self) -> Iterator[Record]:
        """Every row."""
        return chain(shards.read(self.balanced), self.told())

    def first(self, cfg: TrainConfig, words: Any, context: int) -> tuple[Corpus, int] | None:
        """The rows that training begins on alone, and for how many steps."""
        if self.order == "mixed" or not cfg.knowledge or not any(True for _ in self.told()):
            return None
        told = corpus(tokenizer.encode_all(words, self.told()), context)
        return told, round(cfg.loop.steps * cfg.knowledge.first_share)


def _starting_model(cfg: TrainConfig, texts: Texts, labels: set[str], vectors: Path | None) -> tuple[Any, Any]:
    """The network and its tokenizer, with a token for every label of the training set, and for the chosen entities.

    Raises:
        ConfigError: the vocabulary has no room for them.
    """
    rows = list(shards.rows(vectors)) if vectors else []
    shape: Any = cfg.family.cfg
    if cfg.model == SCRATCH:
        every = (record.text for record in texts.all())
        room = shape.vocab - len(rows)
        words = tokenizer.train(every, labels, max(0, room), shape.context)
        if rows and len(words) > room:
            raise ConfigError(
                f"train.family.vocab: expected {len(words)} or more beside the {len(rows)} tokens of entities, got "
                f"{shape.vocab} in all. Raise it, or lower knowledge.entities.tokens."
            )
        model = cfg.family.module.build(shape, words)
        if cfg.initialise:
            cfg.initialise.module.fill(model, cfg.initialise.cfg)
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


def _evaluation(words: Any, validation: Path, held: set[str], context: int) -> Callable[[Any], float]:
    """Bits per byte of the watched documents under a model."""
    records = [record for record in shards.read(validation) if document(record) in held]
    encoded = list(tokenizer.encode_all(words, records))
    size = scoring.text_bytes([written(r) for r in records]).sum()

    def bpb(model: Any) -> float:
        nats = scoring.document_nats(models.logits_fn(model), encoded, scoring.BATCH_TOKENS, context)
        return float(nats.sum() / size / scoring.LN2)

    return bpb


def _samples(cfg: TrainConfig, words: Any, labels: list[str], seed: int) -> Callable[[Any], Mapping[str, bytes]]:
    """A text of each label, drawn with the same seed each time."""

    def sample(model: Any) -> Mapping[str, bytes]:
        prompts = [tokenizer.prompt(words, label) for label in labels] or [tokenizer.prompt(words, None)]
        drawn = cfg.family.module.sample(model, prompts, SAMPLE_TOKENS, TEMPERATURE, TOP_P, seed)
        lines = [f"{label}: {words.decode(ids)}" for label, ids in zip(labels or ["text"], drawn, strict=True)]
        return {"samples.txt": "\n".join([*lines, ""]).encode()}

    return sample


def _epochs(made: Sequence[Stepped], data: Corpus, first: tuple[Corpus, int] | None, texts: Texts) -> dict[str, float]:
    """How often the rows of the main part were passed over, and the told ones, if there are any."""

    def passes(rows: Corpus, steps: Sequence[Stepped]) -> float:
        return sum(step.units for step in steps) / int(rows.learnt.sum())

    early = first[1] if first else 0
    main = passes(data, made[early:])
    told = main if any(True for _ in texts.told()) else 0.0
    return {"epochs": main, "told_epochs": passes(first[0], made[:early]) if first else told}
