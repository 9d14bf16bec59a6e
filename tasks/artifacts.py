"""A model in memory, written for several runtimes; what a fresh process does not find as it was does not count.

`python -m tasks.artifacts EXPORTER FOLDER OUT` reads records (JSON) from stdin, and writes OUT, an .npz of their tokens
and logits by what was written.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge import cards, methods, models, tokenizer
from nightforge.cards import Card
from nightforge.errors import DataError, NightforgeError
from nightforge.held import Held, multiplied_out
from nightforge.methods import Method
from nightforge.records import Record
from nightforge.scoring import LogitsFn
from tasks.hashing import README, size_mb
from tasks.stage import CODE_ROOT

PROBE_TOKENS = 48
KEPT = ("family", "tokenizer_sha256", "parameters", "context_length")
"""What an artifact's model.json says as that of the plain folder does."""


class Probes(NamedTuple):
    """What a model makes of some records, one after the other."""

    ids: NDArray[np.int64]
    """(tokens,), of each record the first PROBE_TOKENS."""
    logits: NDArray[np.float32]
    """(tokens, vocab)."""


class NotReopened(NightforgeError):
    """A fresh process could not open what was written."""


def write_all(
    held: Held,
    plain: Path,
    out: Path,
    exporters: Mapping[str, Method],
    records: Sequence[Record],
    facts: Mapping[str, Any],
    about: Card | None = None,
) -> dict[str, dict[str, Any]]:
    """Write every artifact, open each in a fresh process, and hold it against the model in memory.

    Args:
        held: the model; left as it is.
        plain: the same as a folder of nightforge.models in fp32, low ranks multiplied out.
        out: gets a folder for each exporter, with model.json and README.md; none for one that failed.
        exporters: name of the folder → method of nightforge/export that has `convert` and `opened`.
        records: on which they are compared.
        facts: of model.json, such as the recipe.
        about: what README.md says of the model: its lineage, passes, contract and slices.

    Returns:
        Name → `size_mb`, `difference` (of logits, root of the mean square over their standard deviation), that is held
        against `tolerance`, `max_difference` (the largest of a logit, likewise) and `remarks`; or
        `failed`: why there is none.
    """
    words = models.load(plain).tokenizer
    with multiplied_out(held.model) as model:
        expected = probed(models.logits_fn(model), words, records)
    table = {}
    for name, exporter in exporters.items():
        shutil.rmtree(out / name, ignore_errors=True)
        try:
            table[name] = _written(held, plain, out / name, exporter, records, expected, dict(facts), about)
        except Exception as e:  # noqa: BLE001  a runtime's converter raises what it likes, and the others must be made
            shutil.rmtree(out / name, ignore_errors=True)
            table[name] = {"failed": f"{type(e).__name__}: {str(e).strip()[:600]}"}
            print(f"artifact {name} failed: {e}", flush=True)
    return table


def _written(
    held: Held,
    plain: Path,
    out: Path,
    exporter: Method,
    records: Sequence[Record],
    expected: Probes,
    facts: dict[str, Any],
    about: Card | None,
) -> dict[str, Any]:
    module, tolerance = exporter.module, exporter.cfg.model_dump()["tolerance"]
    remarks = module.convert(held, plain, out, exporter.cfg)
    kept = models.card(plain)
    card = {key: kept[key] for key in KEPT} | {"exporter": exporter.name, "loader": module.RUNTIME} | facts
    (out / models.CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    difference, most = apart(in_fresh_process(exporter.name, out, records), expected)
    if not difference <= tolerance:
        raise DataError(f"expected logits within {tolerance:g} of their standard deviation, got {difference:.3g}")
    told, proof = about or Card("", "", "", 0, ""), cards.reopened(difference, most, tolerance)
    page = replace(
        told, name=exporter.name, runtime=module.RUNTIME, how=module.HOW, size_mb=size_mb(out), proof=proof,
        remarks=remarks,
    )  # fmt: skip
    (out / README).write_text(cards.render(page), encoding="utf-8")
    found = {"difference": difference, "max_difference": most, "tolerance": tolerance}
    return {"size_mb": size_mb(out), **found, "remarks": remarks}


def apart(found: Probes, expected: Probes) -> tuple[float, float]:
    """Difference of logits over the standard deviation of the expected ones: root of the mean square, and the largest.

    The first is what is judged: a model may have a token at which the least change of any weight grows a hundredfold.

    Raises:
        DataError: the records became other tokens, or the vocabulary is another.
    """
    if found.ids.tolist() != expected.ids.tolist():
        at = next((i for i, pair in enumerate(zip(found.ids, expected.ids, strict=False)) if pair[0] != pair[1]), -1)
        raise DataError(f"its tokenizer makes other tokens of the same texts, the first at {at}")
    if found.logits.shape != expected.logits.shape:
        raise DataError(f"expected logits of shape {expected.logits.shape}, got {found.logits.shape}")
    difference = np.abs(found.logits - expected.logits) / expected.logits.std()
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64)))), float(difference.max())


def in_fresh_process(exporter: str, folder: Path, records: Sequence[Record]) -> Probes:
    """What an artifact makes of records, found in a new process.

    Raises:
        NotReopened: with the last lines that the process wrote.
    """
    with tempfile.TemporaryDirectory(prefix="nightforge-artifact-") as name:
        out = Path(name) / "probes.npz"
        done = subprocess.run(
            [sys.executable, "-m", "tasks.artifacts", exporter, str(folder.resolve()), str(out)],
            input=json.dumps([{k: v for k, v in asdict(r).items() if k != "content"} for r in records]),
            env=os.environ | {"PYTHONPATH": str(CODE_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not out.exists():
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise NotReopened(f"{folder} could not be opened: {' | '.join(said[-2:])[-600:]}")
        with np.load(out) as arrays:
            return Probes(arrays["ids"], arrays["logits"])


def probed(logits_fn: LogitsFn, words: Any, records: Sequence[Record]) -> Probes:
    """What a model makes of records."""
    rows = [np.array([d.ids[:PROBE_TOKENS]], dtype=np.int64) for d in tokenizer.encode_all(words, records)]
    logits = [np.asarray(logits_fn(row, np.ones_like(row)), dtype=np.float32)[0] for row in rows]
    return Probes(np.concatenate([row[0] for row in rows]), np.concatenate(logits))


if __name__ == "__main__":
    name, folder, out = sys.argv[1:]
    module: ModuleType = methods.load("export", name)
    logits_fn, words = module.opened(Path(folder))
    np.savez(out, **probed(logits_fn, words, [Record(**one) for one in json.load(sys.stdin)])._asdict())
