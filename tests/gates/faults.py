"""For every expectation of every suite a fault that closes the gate by it, planted in a healthy artifact."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nightforge.records import Record
from tests.gates.healthy import SIZES, State, record, rejected, variant

Fault = Callable[[State], None]
EMAIL = "jane.roe@initech.com"
SECRET = "ghp_0123456789abcdefghijABCDEFGHIJ456789"


def rows(n: int, change: Callable[[Record], Record], split: str | None = None) -> Fault:
    """The first n rows of the artifact changed."""

    def plant(state: State) -> None:
        part = state["artifact"] if split is None else state["artifact"][split]
        part[:n] = map(change, part[:n])

    return plant


def text(suffix: str, n: int = 5, split: str | None = None) -> Fault:
    """The first n rows with something at their end."""
    return rows(n, lambda r: replace(r, text=r.text + suffix), split)


def only(new: str, n: int = 5, split: str | None = None) -> Fault:
    """The first n rows with another text altogether."""
    return rows(n, lambda r: replace(r, text=new), split)


def cut(keep: int, split: str | None = None) -> Fault:
    """All but the first rows gone, from the artifact and from what it was made of."""

    def plant(state: State) -> None:
        part = state["artifact"] if split is None else state["artifact"][split]
        gone = part[keep:]
        del part[keep:]
        if split:
            state["beside"] = [r for r in state["beside"] if r not in gone]

    return plant


def without(label: str, split: str | None = None) -> Fault:
    """A label gone."""

    def plant(state: State) -> None:
        part = state["artifact"] if split is None else state["artifact"][split]
        part[:] = [r for r in part if r.label != label]

    return plant


def repeat(state: State) -> None:
    """A row that is there twice."""
    state["artifact"].append(state["artifact"][0])


def move(change: Callable[[Record], Record]) -> Fault:
    """A row of acceptance that comes from one of train."""

    def plant(state: State) -> None:
        state["artifact"]["acceptance"][0] = change(state["artifact"]["train"][0])

    return plant


def sixth_split(state: State) -> None:
    state["artifact"]["test"] = [record(60_000)]


def metric(path: str, value: Any) -> Fault:
    """Another number in a metrics file."""

    def plant(state: State) -> None:
        *above, last = path.split(".")
        at = state["artifact"]
        for key in above:
            at = at[key]
        at[last] = value

    return plant


def score(**change: Any) -> Fault:
    """A score of the first document changed."""

    def plant(state: State) -> None:
        state["beside"][0] |= change

    return plant


def bpb(value: float) -> Fault:
    """A model with another bpb, told by metrics and scores alike."""

    def plant(state: State) -> None:
        state["artifact"]["bpb"]["value"] = value
        for row in state["beside"]:
            row["nats"] = row["bytes"] * value * math.log(2)

    return plant


def twice_scored(state: State) -> None:
    state["beside"].append(state["beside"][0])


def more_rejects(state: State) -> None:
    state["beside"] = [rejected(n) for n in range(600)]


def same_document(state: State) -> None:
    state["artifact"][:] = [replace(r, text=state["artifact"][i % 120].text) for i, r in enumerate(state["artifact"])]


def rare_label(state: State) -> None:
    rare = [r for r in state["artifact"] if r.label == "time"][1:]
    state["artifact"] = [r for r in state["artifact"] if r not in rare]


def leak(change: Callable[[Record], Record], n: int = 1) -> Fault:
    """Rows of balanced that say what rows of acceptance say."""

    def plant(state: State) -> None:
        for i in range(n):
            judged = change(state["beside"]["acceptance"][i])
            state["artifact"][i] = replace(state["artifact"][i], text=judged.text)

    return plant


def orphan(state: State) -> None:
    state["artifact"].append(variant(record(70_000), 0))


def relabel(state: State) -> None:
    state["artifact"][-1] = replace(state["artifact"][-1], label="animal")


def copy_often(state: State) -> None:
    state["artifact"] += [variant(state["artifact"][0], n) for n in range(1, 10)]


def all_copies(state: State) -> None:
    real = [r for r in state["artifact"] if "parent" not in r.meta]
    state["artifact"] = real + [variant(r, n) for r in real for n in range(2)]


def worse_ratio(state: State) -> None:
    state["artifact"] = [r for r in state["artifact"] if "parent" not in r.meta][:-9]
    state["artifact"] += [variant(r, 0) for r in state["artifact"] if r.label == "animal"]


def lose_train(state: State) -> None:
    state["artifact"] = [r for i, r in enumerate(state["artifact"]) if i % 24 < 8]


def equal_variants(state: State) -> None:
    state["artifact"] += [replace(variant(r, 0), text=r.text) for r in state["artifact"][:40]]


def shuffled(r: Record) -> Record:
    return replace(r, text=" ".join(reversed(r.text.split())))


def short(r: Record) -> Record:
    return replace(r, text=" ".join(r.text.split()[3:8]))


def numbered(r: Record) -> Record:
    return replace(r, text=r.text + " 1234567890")


FAULTS: dict[str, Fault] = {
    "raw table row_count max_value min_value": cut(300),
    "raw label distinct_values_to_equal_set value_set": without("shape"),
    "raw id values_to_match_regex regex": rows(1, lambda r: replace(r, id="row 1")),
    "raw n_words values_to_be_between min_value": only("", 2),
    "raw n_words values_to_be_between max_value": text(" leaf" * 200),
    "raw n_words median_to_be_between max_value min_value": rows(400, lambda r: replace(r, text=r.text[-9:])),
    "raw alpha_share values_to_be_between min_value": text(" 12 34 |----|" * 20, 9),
    "raw n_replacement mean_to_be_between max_value": text("\ufffd"),
    "raw n_replacement values_to_be_between max_value": text("\ufffd"),
    "raw n_control values_to_be_between max_value": text("\x00\x01"),
    "raw media_type values_to_be_in_set value_set": rows(1, lambda r: replace(r, media_type="image/png")),
    "raw source values_to_not_be_in_set value_set": rows(1, lambda r: replace(r, source="")),
    "raw n_missing values_to_be_in_set value_set": rows(1, lambda r: replace(r, source="")),
    "raw rejected_share values_to_be_between max_value": more_rejects,
    "raw duplicate_share values_to_be_between max_value": same_document,
    "clean table row_count min_value": cut(200),
    "clean id values_to_be_unique": repeat,
    "clean n_missing values_to_be_in_set value_set": rows(1, lambda r: replace(r, media_type="")),
    "clean text_hash values_to_be_unique": rows(1, lambda r: replace(record(1), id=r.id, text=record(1).text.upper())),
    "clean label distinct_values_to_equal_set value_set": without("plant"),
    "clean has_pii values_to_be_in_set value_set": text(f" write to {EMAIL}", 1),
    "clean has_secret values_to_be_in_set value_set": text(f" token {SECRET}", 1),
    "clean n_words values_to_be_between max_value min_value": text(" leaf" * 300, 1),
    "clean alpha_share values_to_be_between min_value": text(" 12 34 |----|" * 20, 2),
    "clean n_replacement values_to_be_in_set value_set": text("\ufffd", 1),
    "clean n_control values_to_be_in_set value_set": text("\x07", 1),
    "clean n_markers values_to_be_in_set value_set": text(" <|label:food|>", 1),
    "clean rejected_share values_to_be_between max_value": more_rejects,
    "clean label_share_min values_to_be_between min_value": rare_label,
    "splits split distinct_values_to_equal_set value_set": sixth_split,
    "splits id values_to_be_unique": move(lambda r: replace(record(80_000), id=r.id)),
    "splits text_elsewhere values_to_be_in_set value_set": move(lambda r: replace(record(80_000), text=r.text.upper())),
    "splits document_elsewhere values_to_be_in_set value_set": move(lambda r: replace(record(80_000), meta=r.meta)),
    "splits near_train values_to_be_in_set value_set": move(
        lambda r: replace(record(80_000), text=r.text.replace("and foliage", "and leaves"))
    ),
    "splits n_markers values_to_be_in_set value_set": text(" <|eos|>", 1, "calibration"),
    "splits is_synthetic values_to_be_in_set value_set": rows(1, lambda r: replace(r, meta={"parent": "x"}), "search"),
    "splits rows_missing values_to_be_in_set value_set": lambda s: s["artifact"]["train"].pop(),
    **{f"splits {name}.rows values_to_be_between min_value": cut(1, name) for name in SIZES},
    "splits calibration.rows_per_label_min values_to_be_between min_value": without("body", "calibration"),
    "splits search.rows_per_label_min values_to_be_between min_value": without("body", "search"),
    "splits acceptance.rows_per_label_min values_to_be_between min_value": without("body", "acceptance"),
    "splits calibration.n_words_ratio values_to_be_between max_value min_value": rows(80, short, "calibration"),
    "splits search.n_words_ratio values_to_be_between max_value min_value": rows(80, short, "search"),
    "splits acceptance.n_words_ratio values_to_be_between max_value min_value": rows(160, short, "acceptance"),
    "splits calibration.alpha_share_ratio values_to_be_between max_value min_value": rows(80, numbered, "calibration"),
    "splits search.alpha_share_ratio values_to_be_between max_value min_value": rows(80, numbered, "search"),
    "splits acceptance.alpha_share_ratio values_to_be_between max_value min_value": rows(160, numbered, "acceptance"),
    "splits train.label_share_deviation values_to_be_between max_value": without("food", "train"),
    "splits validation.label_share_deviation values_to_be_between max_value": without("food", "validation"),
    "splits acceptance.label_share_deviation values_to_be_between max_value": without("food", "acceptance"),
    "balanced id values_to_be_unique": repeat,
    "balanced equals_evaluation values_to_be_in_set value_set": leak(lambda r: r),
    "balanced words_of_evaluation values_to_be_in_set value_set": leak(shuffled, 5),
    "balanced origin_in_train values_to_be_in_set value_set": orphan,
    "balanced label_as_origin values_to_be_in_set value_set": relabel,
    "balanced copies values_to_be_between max_value": copy_often,
    "balanced n_words values_to_be_between min_value": only("", 1),
    "balanced has_pii values_to_be_in_set value_set": text(f" {EMAIL}", 1),
    "balanced n_markers values_to_be_in_set value_set": text(" <|eos|>", 1),
    "balanced synthetic_share values_to_be_between max_value": all_copies,
    "balanced label_ratio_change values_to_be_between max_value": worse_ratio,
    "balanced train_kept_share values_to_be_between min_value": lose_train,
    "balanced duplicate_share values_to_be_between max_value": equal_variants,
    "calibration id values_to_be_unique": repeat,
    "calibration text_hash values_to_be_unique": only(record(481).text.upper(), 1),
    "calibration equals_train values_to_be_in_set value_set": only(record(0).text, 1),
    "calibration equals_evaluation values_to_be_in_set value_set": only(record(600).text, 1),
    "calibration is_synthetic values_to_be_in_set value_set": rows(1, lambda r: replace(r, meta={"parent": "x"})),
    "calibration n_words values_to_be_between min_value": only("", 1),
    "calibration media_type values_to_be_in_set value_set": rows(1, lambda r: replace(r, media_type="image/png")),
    "calibration rows values_to_be_between min_value": cut(1),
    "calibration label_share_deviation values_to_be_between max_value": without("food"),
    "calibration n_words_ratio values_to_be_between max_value min_value": rows(80, short),
    "calibration train.n_words.psi_beyond_noise values_to_be_between max_value": rows(40, short),
    "calibration train.alpha_share.psi_beyond_noise values_to_be_between max_value": rows(80, numbered),
    "drift has_reference values_to_be_in_set value_set": metric("has_reference", 2),
    "drift rows_ratio values_to_be_between max_value min_value": metric("rows_ratio", 0.5),
    "drift source.rows_ratio_min values_to_be_between min_value": metric("source.rows_ratio_min", 0.1),
    **{
        f"drift {name}.psi_beyond_noise values_to_be_between max_value": metric(f"{name}.psi_beyond_noise", 0.2)
        for name in ("n_words", "alpha_share", "digit_share")
    },
    **{
        f"drift {name}.js_beyond_noise values_to_be_between max_value": metric(f"{name}.js_beyond_noise", 0.2)
        for name in ("label", "source", "language", "media_type")
    },
    **{
        f"drift {name}.share_change values_to_be_between max_value": metric(f"{name}.share_change", 0.2)
        for name in ("label", "has_pii", "has_secret")
    },
    "dense id values_to_be_unique": twice_scored,
    "dense nats values_to_be_between max_value min_value": score(nats=math.inf),
    "dense bytes values_to_be_between min_value": score(bytes=0),
    "dense bpb.value values_to_be_between max_value min_value": bpb(0.2),
    "dense bpb_difference values_to_be_between max_value": metric("bpb.value", 1.40),
    "dense gain_over_ngram_bpb.low values_to_be_between min_value strict_min": metric("gain_over_ngram_bpb.low", 0.0),
    "dense distinct_2 values_to_be_between min_value": metric("distinct_2", 0.01),
    "dense repetition values_to_be_between max_value": metric("repetition", 0.9),
    "dense documents values_to_be_between min_value": metric("documents", 3),
    "compressed met values_to_be_in_set value_set": metric("met", 0),
    "compressed bpb_loss_share.value values_to_be_between max_value min_value": metric("bpb_loss_share.value", -0.2),
    "compressed bpb_loss_share.high values_to_be_between max_value min_value": metric("bpb_loss_share.high", 9.0),
    "compressed documents values_to_be_between min_value": metric("documents", 3),
}
"""Named by gate, column (or `table`), expectation, and the limits it has."""
