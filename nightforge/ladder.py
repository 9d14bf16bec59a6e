"""The ladder: recipes in order, cheapest first, until one keeps the contract; why each was tried, what can be had.

It judges nothing itself: it reads judgements (nightforge.contract) and says what follows from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nightforge.contract import GAIN, NO_EFFECT, RELOADED, Contract, Judgement, Term

NO_LIMITS = (GAIN, NO_EFFECT, RELOADED)
"""Terms that say that something is wrong, of which no less can be had."""


class Rung(NamedTuple):
    """A recipe's turn, as the log tells it."""

    recipe: str
    taken: bool
    why: str

    def json(self) -> dict[str, Any]:
        """As plain data."""
        return self._asdict()


def too_large(contract: Contract, least_mb: float, dense_mb: float) -> str | None:
    """Why a recipe cannot reach the size that is asked, known from shapes alone; None if it may."""
    for key, limit, least in (
        ("max_size_share", contract.max_size_share, least_mb / dense_mb),
        ("max_size_mb", contract.max_size_mb, least_mb),
    ):
        if limit is not None and least > limit:
            return f"its weights alone come to {least:.3g}, and {key} is {limit:g}"
    return None


def why_next(before: str | None, judgement: Judgement | None, failed: str | None) -> str:
    """Why the next recipe is taken, from what became of the last one that was."""
    if before is None:
        return "the first, and cheapest, of the ladder"
    if judgement is None:
        return f"{before} failed: {failed}"
    return f"{before} does not keep the contract: {'; '.join(missed(t) for t in judgement.terms if not t.met)}"


def missed(term: Term) -> str:
    """A term that is not met, in the words of the log; figures of a clock are in the table of speeds."""
    if term.bound is None:
        return f"{term.term} was not measured"
    if term.term.startswith(("latency", "peak_memory")):
        return f"{term.term} is over {term.limit:g}"
    return f"{term.term} {term.bound:.4g} is over {term.limit:g}"


def reachable(judged: Mapping[str, Judgement]) -> list[str]:
    """Where no recipe keeps the contract: for each term that one missed, the best that was reached, first among those
    recipes that keep all the other terms, else among all. One sentence a term; empty if a recipe keeps all."""
    if any(j.met for j in judged.values()):
        return []
    names = {t.term for j in judged.values() for t in j.terms if t.term not in NO_LIMITS and not t.met}
    return [sentence for name in sorted(names) if (sentence := _best(name, judged))]


def _best(name: str, judged: Mapping[str, Judgement]) -> str | None:
    terms = {recipe: next((t for t in j.terms if t.term == name), None) for recipe, j in judged.items()}
    known = {recipe: t for recipe, t in terms.items() if t is not None and t.bound is not None}
    if not known:
        return None
    others = [recipe for recipe in known if all(t.met for t in judged[recipe].terms if t.term != name)]
    of = others or list(known)
    recipe = min(of, key=lambda one: (known[one].bound, one))
    kept = "with all else kept" if others else "with other terms missed"
    return f"{name}: {known[recipe].bound:.4g} can be had ({recipe}, {kept}); {known[recipe].limit:g} is asked"


def front(points: Mapping[str, Sequence[float]]) -> list[str]:
    """Those that no other is at least as good as in everything and better in something; less is better."""

    def beaten(name: str) -> bool:
        mine = points[name]
        return any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and tuple(other) != tuple(mine)
            for key, other in points.items()
            if key != name
        )

    return [name for name in points if not beaten(name)]
