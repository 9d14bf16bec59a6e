"""Names the language of a text, and drops those not asked for: fastText's lid.176 (Joulin et al. 2016, 1607.01759).

The model (nightforge/languages.py) names a language for noise too, and with confidence (`asdkj` is Japanese to it): a
text with few letters is not judged.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from nightforge import config, languages
from nightforge.records import Mark, Reject
from nightforge.view import View

Detect = Callable[[str], tuple[str, float]]


class Config(config.Config):
    """Which languages stay."""

    languages: list[str]
    """Codes such as `en` and `de` (ISO 639-1, 639-3 where there is none); none given: every language stays."""
    score_min: float = Field(ge=0, le=1)
    """Least probability that the model gives the language it names."""
    letters_min: int = Field(ge=0)
    """Fewest letters that a text is judged by; with fewer it stays, unnamed."""


SAMPLE = Config(languages=["en"], score_min=0.65, letters_min=40)


def prepare(cfg: Config, assets: Path) -> Detect:
    """What names languages, its model loaded.

    Raises:
        AssetMissing: the package does not hold it.
    """
    languages.model()
    return languages.detect


def judge(view: View, cfg: Config, detect: Detect) -> Iterator[Reject | Mark]:
    """The language and its score; why the text goes, if it is none of those asked for, or none for sure."""
    if sum(n for c, n in view.characters.items() if c.isalpha()) < cfg.letters_min:
        return
    language, score = detect(view.text)
    yield Mark("language", language)
    yield Mark("language_score", round(score, 3))
    if cfg.languages and language not in cfg.languages:
        yield Reject("other_language", f"{language} ({score:.2f}), not {', '.join(cfg.languages)}")
    elif score < cfg.score_min:
        yield Reject("language_unsure", f"{language} {score:.2f} < {cfg.score_min}")
