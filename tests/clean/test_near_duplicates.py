from nightforge.clean.near_duplicates import SAMPLE, select, signature
from nightforge.records import Record
from nightforge.signatures import Held
from nightforge.view import View


def test_the_first_of_a_cluster_stays() -> None:
    texts = [
        "a flower of the north",
        "the vein that drains the upper part of the thyroid and empties into the jugular vein",
        "the vein that drains the lower part of the thyroid and empties into the jugular vein",
        "a tree of the south with long leaves",
        "the vein that drains the lower part of the thyroid and empties into the jugular",
    ]
    signed = Held((f"r{i}", signature(View(Record(id=f"r{i}", text=t)), SAMPLE)) for i, t in enumerate(texts))
    rejects = dict(select(signed, SAMPLE.model_copy(update={"jaccard_min": 0.6})))
    assert {at: (r.reason, r.evidence) for at, r in rejects.items()} == {
        2: ("near_duplicate", "of r1"),  # J = 11/17
        4: ("near_duplicate", "of r1"),  # J = 13/14 with r2, which is of r1
    }
