"""Bits per byte by hand, and slices that add up."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from nightforge.evaluate import bits_per_byte
from nightforge.evaluate._subject import Subject

CFG = bits_per_byte.Config(length_edges_bytes=[8, 27], slice_documents_min=1)


def test_by_hand(scored: Callable[[list[float]], Subject]) -> None:
    sizes = [11, 62, 6, 26, 5, 47, 27, 4]
    given = scored([size * math.log(2) * 3 for size in sizes])
    assert given.bytes.tolist() == sizes
    got = bits_per_byte.measure(given, CFG).metrics
    assert got["bpb"] == pytest.approx({"value": 3.0, "low": 3.0, "high": 3.0})  # the same everywhere: no spread
    assert (got["documents"], got["bytes"]) == (8, sum(sizes))
    assert got["perplexity"]["value"] == pytest.approx(2 ** (3 * sum(sizes) / given.tokens.sum()))
    assert {k: v["documents"] for k, v in got["by_length"].items()} == {"<8": 3, "8–26": 2, "≥27": 3}
    assert {k: v["documents"] for k, v in got["by_label"].items()} == {"food": 3, "plant": 3, "time": 2}


def test_slices_average_to_the_whole_by_bytes(subject: Subject) -> None:
    got = bits_per_byte.measure(subject, CFG).metrics
    labels = np.array([r.label for r in subject.records])
    weighted = sum(v["value"] * subject.bytes[labels == k].sum() for k, v in got["by_label"].items())
    assert weighted / subject.bytes.sum() == pytest.approx(got["bpb"]["value"])
    assert got["bpb"]["low"] < got["bpb"]["value"] < got["bpb"]["high"]


def test_a_slice_of_few_documents_is_left_out(subject: Subject) -> None:
    few = CFG.model_copy(update={"slice_documents_min": 3})
    assert set(bits_per_byte.measure(subject, few).metrics["by_label"]) == {"food", "plant"}


def test_a_model_that_training_began_from_is_scored_on_the_same_documents(subject: Subject) -> None:
    """A model against itself gains nothing, in every resample; against one that knows nothing, what by hand it must."""
    same = bits_per_byte.measure(subject._replace(before=subject.loaded), CFG)
    assert same.metrics["bpb_before"] == pytest.approx(same.metrics["bpb"])
    assert same.metrics["gain_over_start_bpb"] == pytest.approx({"value": 0, "low": 0, "high": 0}, abs=1e-6)
    assert same.columns["nats_before"] == pytest.approx(subject.nats, rel=1e-5)
    blank = copy.deepcopy(subject.loaded.model)
    with torch.no_grad():
        for weights in blank.parameters():
            weights.zero_()
    vocabulary = subject.loaded.model.config.vocab_size
    got = bits_per_byte.measure(subject._replace(before=replace(subject.loaded, model=blank)), CFG)
    assert got.columns["nats_before"] == pytest.approx(subject.tokens * math.log(vocabulary), rel=1e-5)
    bits = subject.tokens.sum() * math.log2(vocabulary) / subject.bytes.sum()
    assert got.metrics["gain_over_start_bpb"]["value"] == pytest.approx(bits - got.metrics["bpb"]["value"], rel=1e-5)
    assert "bpb_before" not in bits_per_byte.measure(subject, CFG).metrics
