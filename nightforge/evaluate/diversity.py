"""Distinct-n, repetition and copying, on texts sampled from the model with a seed.

Li et al. 2016 (distinct-n); Welleck et al. 2020 (seq-rep-n: the share of repeated n-grams within a text). Distinct-n
falls with the amount of text, so it is taken over a fixed number of words.
"""

from collections.abc import Iterable, Sequence

from pydantic import Field

from nightforge import methods, tokenizer
from nightforge.config import Config as BaseConfig
from nightforge.evaluate._subject import Scores, Subject
from nightforge.records import Record, turns
from nightforge.records import written as written_by


class Config(BaseConfig):
    """What is sampled, and how it is measured."""

    texts_per_label: int = Field(ge=1, le=10_000)
    """Texts sampled for each label."""
    new_tokens: int = Field(ge=1)
    """Tokens of a text at most."""
    temperature: float = Field(gt=0, le=10)
    """Divides the logits; below 1 is safer, above 1 wilder."""
    top_p: float = Field(gt=0, le=1)
    """Only the likeliest tokens that together have this probability are drawn from."""
    distinct_words: int = Field(ge=2)
    """Words, the first of all samples, over which distinct-n is taken."""
    repeat_words: int = Field(ge=1, le=20)
    """Length of the word sequences whose repetition within a text is counted."""
    shown_per_label: int = Field(ge=0)
    """Samples of each label that are kept for the report."""


SAMPLE = Config(
    texts_per_label=2, new_tokens=8, temperature=0.8, top_p=0.95, distinct_words=50, repeat_words=2, shown_per_label=1
)


def measure(subject: Subject, cfg: Config) -> Scores:
    """Sample texts of every label among the documents, and measure how varied and how original they are.

    A chat is begun by the first documents of its label, up to what the assistant says first; any other text by its
    label alone.
    """
    by_label: dict[str, list[Record]] = {}
    for record in subject.records:
        by_label.setdefault(record.label or "", []).append(record)
    asked = [rows[i % len(rows)] for _, rows in sorted(by_label.items()) for i in range(cfg.texts_per_label)]
    words = subject.loaded.tokenizer
    prompts = [encoded.condition for encoded in tokenizer.encode_all(words, asked)]
    family = methods.load("train", subject.loaded.card["family"])
    rows = family.sample(subject.loaded.model, prompts, cfg.new_tokens, cfg.temperature, cfg.top_p, subject.seed)
    texts = [words.decode(row, skip_special_tokens=True).strip() for row in rows]
    written = [text.split() for text in texts]
    trained_on = {_normal(written_by(record)) for record in subject.training()}
    return Scores(
        {
            "distinct_1": distinct(written, 1, cfg.distinct_words),
            "distinct_2": distinct(written, 2, cfg.distinct_words),
            "repetition": repetition(written, cfg.repeat_words),
            "copied_share": sum(_normal(t) in trained_on for t in texts) / max(1, len(texts)),
            "sampled_texts": len(texts),
        },
        samples=[
            {"prompt": _said(record), "label": record.label, "text": text}
            for i, (record, text) in enumerate(zip(asked, texts, strict=True))
            if i % cfg.texts_per_label < cfg.shown_per_label
        ],
    )


def _said(record: Record) -> str:
    """What a text is begun by, for a person to read."""
    said = turns(record)
    return said[0][1] if said else tokenizer.label_token(record.label)


def distinct(texts: Iterable[Sequence[str]], n: int, words: int) -> float:
    """Different word n-grams over all of them, among the first `words` words; n-grams do not cross texts."""
    grams: list[tuple[str, ...]] = []
    left = words
    for text in texts:
        grams += _grams(text[:left], n)
        left -= min(left, len(text))
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(texts: Iterable[Sequence[str]], n: int) -> float:
    """Mean over texts of the share of word n-grams that stood in the same text before."""
    shares = [1 - len(set(grams)) / len(grams) for text in texts if (grams := _grams(text, n))]
    return sum(shares) / len(shares) if shares else 0.0


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _normal(text: str) -> str:
    return " ".join(text.lower().split())
