from nightforge.clean.exact_duplicates import SAMPLE, select, signature
from nightforge.records import Record


def drop(*texts: str) -> dict[int, str]:
    signed = [(f"r{i}", signature(Record(id=f"r{i}", text=t), SAMPLE)) for i, t in enumerate(texts)]
    return {at: reject.evidence for at, reject in select(iter(signed), SAMPLE).items()}


def test_the_first_stays() -> None:
    assert drop("A tree.", "a bush", "a  TREE", "“a tree”", "a trees") == {2: "of r0", 3: "of r0"}


def test_texts_without_words_are_compared_as_they_stand() -> None:
    assert drop("!", "?", "!") == {2: "of r0"}


def test_rows_of_equal_id_are_still_duplicates() -> None:
    row = ("same", signature(Record(id="same", text="x"), SAMPLE))
    assert list(select([row, row], SAMPLE)) == [1]
