"""All metrics that a project chose, on one subject; the two evaluate stages share it."""

from typing import Any

from nightforge.errors import ConfigError
from nightforge.evaluate._subject import Scores
from nightforge.methods import Method
from tasks.progress import report


def measured(metrics: list[Method], subject: Any, kind: str) -> list[Scores]:
    """What each metric found.

    Raises:
        ConfigError: two metrics write the same figure, or one is about another kind of model.
    """
    found: list[Scores] = []
    seen: dict[str, str] = {}
    for i, metric in enumerate(metrics, start=2):
        if (other := getattr(metric.module, "KIND", "text")) != kind:
            raise ConfigError(
                f"evaluate.metrics: expected metrics of {kind} models, got {metric.name}, of {other} models."
            )
        report(i, len(metrics) + 3, metric.name)
        scores: Scores = metric.module.measure(subject, metric.cfg)
        for key in [*scores.metrics, *scores.columns]:
            if key in seen:
                raise ConfigError(f"evaluate.metrics: {seen[key]} and {metric.name} both write {key!r}; keep one.")
            seen[key] = metric.name
        found.append(scores)
    return found
