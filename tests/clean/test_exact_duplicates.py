import tracemalloc
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from nightforge.clean.exact_duplicates import SAMPLE, select, signature
from nightforge.records import Record
from nightforge.signatures import Held
from nightforge.view import View


def sign(text: str) -> bytes:
    return signature(View(Record(id="r", text=text)), SAMPLE)


def drop(*texts: str) -> dict[int, str]:
    signed = Held((f"r{i}", sign(t)) for i, t in enumerate(texts))
    return {at: reject.evidence for at, reject in select(signed, SAMPLE)}


def test_the_first_stays() -> None:
    assert drop("A tree.", "a bush", "a  TREE", "“a tree”", "a trees") == {2: "of r0", 3: "of r0"}


def test_texts_without_words_are_compared_as_they_stand() -> None:
    assert drop("!", "?", "!") == {2: "of r0"}


def test_rows_of_equal_id_are_still_duplicates() -> None:
    assert [at for at, _ in select(Held([("same", sign("x"))] * 2), SAMPLE)] == [1]


def test_hashes_that_agree_in_half_are_two_texts() -> None:
    hashes = [b"a" * 8 + b"b" * 8, b"a" * 8 + b"c" * 8, b"d" * 8 + b"b" * 8, b"a" * 8 + b"b" * 8]
    assert [at for at, _ in select(Held((str(i), h) for i, h in enumerate(hashes)), SAMPLE)] == [3]


class Sliced(Held):
    """Batches that are windows of a larger array, as readers may hand them out."""

    def batches(self) -> Iterator[pa.Array]:
        whole = pa.array([sig for _, sig in self.rows], pa.binary())
        for at in range(0, len(whole), 7):
            yield whole.slice(at, 7)


def test_windows_of_batches_and_memory_a_row() -> None:
    rows = 50_000
    drawn = np.random.default_rng(1).integers(rows // 2, size=rows)
    signed = Sliced((str(i), int(n).to_bytes(16, "big")) for i, n in enumerate(drawn))
    seen, expected = set[int](), []
    for at, n in enumerate(drawn.tolist()):
        if n in seen:
            expected.append(at)
        seen.add(n)
    held = Held(signed.rows)
    next(iter(held.batches()))
    tracemalloc.start()
    found = sum(1 for _ in select(held, SAMPLE))
    assert tracemalloc.get_traced_memory()[1] / rows < 200
    tracemalloc.stop()
    assert found == len(expected)
    assert [at for at, _ in select(signed, SAMPLE)] == expected
