"""Shared fixtures. Tests never talk to a network or to a Prefect server that they did not start."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests import cleaning_assets as texts_for_cleaning
from tests import mini_wordnet

for name, value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # of torch and numpy, here and in what tests start: several test at once
}.items():
    os.environ.setdefault(name, value)

for who in ("AUTHOR", "COMMITTER"):  # a bare machine has no git identity
    os.environ.setdefault(f"GIT_{who}_NAME", "tests")
    os.environ.setdefault(f"GIT_{who}_EMAIL", "tests@localhost")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Among workers (`make test`) a file goes to one, so that its fixtures are made once; slow ones come first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
        for item in items:
            shared = "checkout" in getattr(item, "fixturenames", ())  # of several files, and dear
            item.add_marker(pytest.mark.xdist_group("checkout" if shared else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def subject() -> Any:
    """A tiny model and what it was scored on, as evaluate hands them to a metric."""
    from tests import tiny_model  # torch and transformers, of which most tests need neither

    return tiny_model.subject()


@pytest.fixture(scope="session")
def small() -> Any:
    """A small language model, trained for a few seconds, for compression passes; tests/small_lm.py."""
    from tests import small_lm

    return small_lm.trained()


@pytest.fixture(scope="session")
def array_subject() -> Any:
    """Pictures that a model was scored on, and what it makes, as evaluate_array hands them to a metric."""
    from tests import tiny_pictures

    return tiny_pictures.subject()


@pytest.fixture(scope="session")
def wordnet_assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of assets that holds a WordNet of a few words."""
    folder = tmp_path_factory.mktemp("assets")
    mini_wordnet.write(folder / "wordnet")
    return folder


@pytest.fixture(scope="session")
def cleaning_assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of assets that holds what the SAMPLEs of the cleaning rules name."""
    folder = tmp_path_factory.mktemp("cleaning")
    texts_for_cleaning.write(folder)
    return folder


@pytest.fixture(scope="session")
def augment_assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of assets that holds what the SAMPLEs of the augmenters name: a dictionary, texts, tiny models."""
    from tests import tiny_assets  # torch and transformers

    folder = tmp_path_factory.mktemp("augmenters")
    mini_wordnet.write(folder / "wordnet")
    return tiny_assets.write(folder)
