"""The gain over a byte n-gram trained on the same texts, told the same labels and scored on the same bytes, paired.

A network that does not beat it has learnt nothing that counting would not give; see nightforge.ngram. Of a chat, the
n-gram is not told the prompt: there it says what the prompt is worth too.
"""

from pydantic import Field

from nightforge import ngram, stats
from nightforge.config import Config as BaseConfig
from nightforge.evaluate._subject import Scores, Subject
from nightforge.records import written
from nightforge.scoring import LN2


class Config(BaseConfig):
    """The baseline."""

    order: int = Field(ge=1, le=ngram.MAX_ORDER)
    """Bytes in an n-gram."""


SAMPLE = Config(order=3)


def measure(subject: Subject, cfg: Config) -> Scores:
    """Bits per byte of the n-gram, and how many fewer the model needs (above zero: the model is better).

    Raises:
        DataError: no documents.
    """
    fitted = ngram.fit([(r.label, written(r).encode()) for r in subject.training()], cfg.order)
    nats = ngram.document_nats(fitted, [(r.label, written(r).encode()) for r in subject.records])
    how = (subject.groups, subject.boot, subject.seed)
    baseline = stats.ratio(nats, subject.bytes, *how).scaled(1 / LN2)
    gain = stats.difference(nats, subject.nats, subject.bytes, *how).scaled(1 / LN2)
    return Scores(
        {
            "ngram_order": cfg.order,
            "ngram_bpb": baseline.value,
            "ngram_bpb_interval": baseline.json(),
            "gain_over_ngram_bpb": gain.json(),
        },
        columns={"ngram_nats": nats},
    )
