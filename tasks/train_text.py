"""Text for the training loop: tokenizer, starting model, rows, and what early stopping looks at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from nightforge import models, packing, scoring, tokenizer
from nightforge.batching import watched
from nightforge.corpus import Corpus, corpus
from nightforge.errors import ConfigError
from nightforge.methods import Method
from nightforge.records import Record, document, turns, written
from nightforge.training import Stepped
from tasks import shards, starting
from tasks.prepared import Inputs, Prepared, TrainConfig

SAMPLE_TOKENS, TEMPERATURE, TOP_P = 40, 0.8, 0.95
"""Of the texts written at every evaluation, one a label."""
SAMPLED_CHATS = 4


def prepare(cfg: TrainConfig, seed: int, inputs: Inputs) -> Prepared:
    """The model and its data, ready for the loop; weights are drawn from torch's generator as the caller seeded it."""
    texts = Texts(inputs.balanced, inputs.deps.get("knowledge"), cfg.knowledge.order if cfg.knowledge else "mixed")
    labels = {record.label for record in texts.all() if record.label}
    looked_at = _looked_at(cfg, inputs.splits / "validation")
    model, words, expansion = starting.start(
        cfg, lambda: (r.text for r in texts.all()), labels, inputs.deps.get("entity_vectors"), looked_at.worth
    )
    context = looked_at.context(model)
    rows = _rows(cfg, model, words, context)
    data, first = rows(texts.main()), texts.first(cfg, rows)
    trained_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)

    def save(folder: Path, trained: Any, facts: dict[str, Any]) -> None:
        plain = trained.merge_and_unload() if cfg.adapter else trained
        own = {"context_length": context, "watched_documents": looked_at.documents}
        if (kind := cfg.family.module.CLASS) != "AutoModelForCausalLM":
            own["class"] = kind
        models.save(folder, plain, words, facts | own)

    def metrics(made: Sequence[Stepped]) -> dict[str, Any]:
        shape = {"context": context, "rows": len(data.sizes), "documents_cut": data.cut, "rows_mute": data.mute}
        grown = {"expansion": expansion} if expansion else {}
        return shape | {"trained_parameters": trained_parameters} | grown | _epochs(made, data, first, texts)

    return Prepared(
        model=model,
        data=data,
        first=first,
        evaluate=looked_at.bpb(words, context),
        metric="bpb",
        sample=_samples(cfg, words, sorted(labels), looked_at.records, seed),
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

    def first(self, cfg: TrainConfig, rows: Callable[[Iterator[Record]], Corpus]) -> tuple[Corpus, int] | None:
        """The rows that training begins on alone, and for how many steps."""
        if self.order == "mixed" or not cfg.knowledge or not any(True for _ in self.told()):
            return None
        return rows(self.told()), round(cfg.loop.steps * cfg.knowledge.first_share)


def _rows(cfg: TrainConfig, model: Any, words: Any, context: int) -> Callable[[Iterator[Record]], Corpus]:
    """How records become rows.

    Raises:
        ConfigError: rows are to be packed, and the network cannot keep documents apart.
    """
    if cfg.packing and cfg.family.module.CLASS != "AutoModelForCausalLM":
        raise ConfigError(f"train.packing: expected a causal language model, got {cfg.family.name}. Set it to false.")
    if cfg.packing:
        packing.check(model)

    def rows(records: Iterator[Record]) -> Corpus:
        found = corpus(tokenizer.encode_all(words, records), context)
        return packing.pack(found, context) if cfg.packing else found

    return rows


class LookedAt(NamedTuple):
    """The validation documents that early stopping looks at."""

    records: list[Record]
    documents: int
    family: Method

    def context(self, model: Any) -> int:
        """Longest sequence in tokens that model and config allow."""
        longest: int = self.family.cfg.context  # type: ignore[attr-defined]
        return min(longest, models.context_length(model))

    def bpb(self, words: Any, context: int) -> Callable[[Any], float]:
        """Bits per byte under a model."""
        encoded = list(tokenizer.encode_all(words, self.records))
        size = scoring.text_bytes([written(r) for r in self.records]).sum()

        def bpb(model: Any) -> float:
            nats = self.family.module.nats(model, encoded, scoring.BATCH_TOKENS, context)
            return float(nats.sum() / size / scoring.LN2)

        return bpb

    def worth(self, model: Any, words: Any) -> dict[str, float]:
        """What a vocabulary is worth: tokens a byte, and bits per byte."""
        tokens = scoring.text_tokens(list(tokenizer.encode_all(words, self.records))).sum()
        size = scoring.text_bytes([written(r) for r in self.records]).sum()
        return {"tokens_per_byte": float(tokens / size), "bpb": self.bpb(words, self.context(model))(model)}


def _looked_at(cfg: TrainConfig, validation: Path) -> LookedAt:
    held = watched(map(document, shards.read(validation)), cfg.eval_documents)
    records = [record for record in shards.read(validation) if document(record) in held]
    return LookedAt(records, len(held), cfg.family)


def _samples(
    cfg: TrainConfig, words: Any, labels: list[str], records: list[Record], seed: int
) -> Callable[[Any], Mapping[str, bytes]]:
    """Answers to what the first chats among some records ask, or a text of each label; drawn with the same seed."""
    if chats := [record for record in records if turns(record)][:SAMPLED_CHATS]:
        asked = [turns(chat)[0][1] for chat in chats]
        prompts = [encoded.condition for encoded in tokenizer.encode_all(words, chats)]
    else:
        asked = labels or ["text"]
        prompts = [tokenizer.prompt(words, label) for label in labels] or [tokenizer.prompt(words, None)]

    def sample(model: Any) -> Mapping[str, bytes]:
        drawn = cfg.family.module.sample(model, prompts, SAMPLE_TOKENS, TEMPERATURE, TOP_P, seed)
        lines = [f"{said}: {words.decode(ids)}" for said, ids in zip(asked, drawn, strict=True)]
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
