"""The linear rise that most schedules begin with."""

from nightforge.training import At


def steps(at: At, share: float) -> int:
    """How many steps rise: at least one, which is already at the peak."""
    return max(1, round(at.steps * share))


def rising(at: At, share: float) -> float:
    """Share of the peak while it rises, and 1 from then on."""
    return min(1.0, (at.step + 1) / steps(at, share))


def done(at: At, share: float) -> float:
    """How much of what follows the rise is over, 0 … 1; 1 would be one step after the last."""
    rise = steps(at, share)
    return max(0.0, (at.step - rise) / max(1, at.steps - rise))
