"""The cleaning rules as the stage calls them: each of one kind, bound to its values and to its state."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from nightforge.errors import ConfigError
from nightforge.methods import Method
from nightforge.records import Reject
from nightforge.signatures import Signatures

Kind = Literal["editor", "filter", "corpus rule"]
FUNCTIONS: dict[Kind, tuple[str, ...]] = {
    "editor": ("edit",),
    "filter": ("judge",),
    "corpus rule": ("signature", "select"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a preset, ready to be called."""

    name: str
    kind: Kind
    call: Callable[[Any], Any]
    """An editor's `edit(text)`, a filter's `judge(view)`, a corpus rule's `signature(view)`."""
    select: Callable[[Signatures], Iterable[tuple[int, Reject]]] | None
    """A corpus rule's choice among all rows."""


def kind(module: ModuleType) -> Kind:
    """Of which kind a module of nightforge/clean/ is.

    Raises:
        ConfigError: of none, or of more than one.
    """
    found = [name for name, functions in FUNCTIONS.items() if any(hasattr(module, f) for f in functions)]
    if len(found) == 1 and all(hasattr(module, f) for f in FUNCTIONS[found[0]]):
        return found[0]
    raise ConfigError(
        f"{module.__name__}: expected exactly one of `edit`, `judge`, or `signature` with `select`; "
        f"it has {', '.join(f for fs in FUNCTIONS.values() for f in fs if hasattr(module, f)) or 'none'}. "
        "What each is: docs/methods.md"
    )


def check_order(preset: str, rules: Sequence[Method]) -> None:
    """Corpus rules choose among the rows that editors and filters left, so they stand last.

    Raises:
        ValueError: one stands before an editor or a filter.
    """
    corpus = None
    for rule in rules:
        if kind(rule.module) == "corpus rule":
            corpus = rule.name
        elif corpus is not None:
            raise ValueError(
                f"presets.{preset}: {rule.name} stands after {corpus}, which looks at all rows at once: "
                "put all editors and filters before the corpus rules"
            )


def bind(method: Method, assets: Path) -> Rule:
    """A rule with its values, and with what its `prepare` made of the assets.

    Raises:
        AssetMissing: by `prepare`, when the rule needs an asset that is not there.
    """
    module, what = method.module, kind(method.module)
    given = (method.cfg, module.prepare(method.cfg, assets)) if hasattr(module, "prepare") else (method.cfg,)
    function = getattr(module, FUNCTIONS[what][0])
    select = (lambda signatures: module.select(signatures, *given)) if what == "corpus rule" else None
    return Rule(method.name, what, lambda value: function(value, *given), select)
