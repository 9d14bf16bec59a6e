"""Synonyms: nlpaug's SynonymAug as it comes against ours, on the same pages of real text, in one thread.

nlpaug runs with nightforge/augment/_nlpaug_shim.py alone, without which it does not run at all: the same WordNet, the
same tagger. Each varies 30% of the words as far as it can (by itself nlpaug stops at ten a page). The two take turns.
"""

import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from bench import _corpus
from nightforge.augment import synonym
from nightforge.augment._nlpaug_shim import stock_synonyms
from nightforge.records import Record
from tasks import sources, wiring

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES, PAGES, ROUNDS = 50, 300, 5
SHARE = 0.3


def measure() -> dict[str, float]:
    """Pages a second of ours over those of nlpaug."""
    with tempfile.TemporaryDirectory() as folder:
        assets = Path(folder)
        _lay(assets / "wordnet")
        stock = stock_synonyms(assets / "wordnet")
        stock.aug_p, stock.aug_max = SHARE, None
        cfg = synonym.SAMPLE.model_copy(update={"word_share": SHARE, "tries": 1})

        def theirs(page: str) -> str | None:
            return next(iter(stock.augment(page)), None)

        def ours(page: str) -> str | None:
            record = Record(id=page[:20], text=page)
            found = next(synonym.vary(record, cfg, random.Random(f"1 {record.id} 1"), assets), None)
            return found and found.text

        return _rounds({"nlpaug": theirs, "ours": ours})


def _rounds(sides: dict[str, Callable[[str], str | None]]) -> dict[str, float]:
    """Each round has pages of its own, so that no side finds its answers in memory; the first round is not counted."""
    pages = islice(_corpus.read(_corpus.documents(MEGABYTES)), PAGES * (ROUNDS + 1))
    rates: dict[str, list[float]] = {name: [] for name in sides}
    kept = Counter[str]()
    random.seed(1)
    for batch in iter(lambda: list(islice(pages, PAGES)), []):
        for name, side in sides.items():
            begun = time.process_time()
            made = [side(page) for page in batch]
            rates[name].append(len(batch) / (time.process_time() - begun))
            kept[name] += sum(m is None or m.count("\n") == p.count("\n") for m, p in zip(made, batch, strict=True))
    median = {name: statistics.median(found[1:]) for name, found in rates.items()}
    print(f"synonyms: pages/s, medians of {ROUNDS} rounds of {PAGES} pages:", {k: round(v) for k, v in median.items()})
    print(f"synonyms: pages whose line breaks stayed, of {PAGES * (ROUNDS + 1)}:", dict(kept))
    return {"synonym_vs_nlpaug": median["ours"] / median["nlpaug"], "synonym_docs_per_s": median["ours"]}


def _lay(folder: Path) -> None:
    """WordNet as params.yaml names it."""
    values = wiring.read_yaml(ROOT / "params.yaml")["ingest"]["assets"]
    place = sources.Asset.model_validate(next(one for one in values if one["name"] == "wordnet"))
    folder.mkdir(parents=True)
    for path, handle in sources.opened(place, ROOT):
        (folder / sources.below(place, path).name).write_bytes(handle.read().replace(b"\r\n", b"\n"))


if __name__ == "__main__":
    print(measure())
