"""The tiny subject, with figures of the test's choice."""

from collections.abc import Callable

import numpy as np
import pytest

from nightforge.evaluate._subject import Subject


@pytest.fixture
def scored(subject: Subject) -> Callable[[list[float]], Subject]:
    """The subject with other nats."""
    return lambda nats: subject._replace(nats=np.array(nats))
