"""Signatures on disk answer as signatures in memory do."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge.signatures import Held
from tasks import clean_signatures
from tasks.clean_signatures import Spill, Spilled, rows_before

ROWS = st.tuples(st.binary(max_size=9), st.booleans(), st.booleans())
"""Signature, whether the row is alive, whether it is asked for."""


def spill(folder: Path, chunks: list[list[bytes]]) -> list[Path]:
    folders = []
    for number, values in enumerate(chunks):
        chunk = folder / str(number)
        chunk.mkdir()
        with Spill(chunk / "ids") as ids, Spill(chunk / "0") as column:
            for at, value in enumerate(values):  # one by one: a batch may be of any size
                ids.extend([f"é{number}-{at}".encode()])
                column.extend([value])
                column.extend([])
        folders.append(chunk)
    return folders


@settings(deadline=None)  # files
@given(chunks=st.lists(st.lists(ROWS, max_size=12), max_size=5))
def test_on_disk_is_as_in_memory(chunks: list[list[tuple[bytes, bool, bool]]]) -> None:
    rows = [(f"é{n}-{at}", *row) for n, chunk in enumerate(chunks) for at, row in enumerate(chunk)]
    held = Held([(i, value) for i, value, alive, _ in rows if alive])
    asked = np.array([at for at, row in enumerate(r for r in rows if r[2]) if row[3]], np.int64)
    with tempfile.TemporaryDirectory() as folder:
        folders = spill(Path(folder), [[value for value, *_ in chunk] for chunk in chunks])
        assert rows_before(folders).tolist() == [sum(map(len, chunks[:n])) for n in range(len(chunks) + 1)]
        seen = Spilled(folders, "0", np.array([row[2] for row in rows], bool))
        assert len(seen) == len(held)
        for _ in range(2):  # again and again
            there = [value for batch in seen.batches() for value in batch.to_pylist()]
            assert there == [value for batch in held.batches() for value in batch.to_pylist()]
        assert seen.at(asked) == held.at(asked)
        assert seen.ids(asked) == held.ids(asked)


def test_batches_hold_some_thousand_rows_across_chunks(tmp_path: Path) -> None:
    chunks = [[bytes([n]) * 3] * 3_000 for n in range(3)]
    seen = Spilled(spill(tmp_path, chunks), "0", np.ones(9_000, bool))
    sizes = [len(batch) for batch in seen.batches()]
    assert sizes == [clean_signatures.ROWS_PER_BATCH] * 2 + [9_000 - 2 * clean_signatures.ROWS_PER_BATCH]
