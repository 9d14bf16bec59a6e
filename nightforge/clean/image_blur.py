"""Drops pictures without sharp edges: the variance of the Laplacian is small.

Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR; the Laplacian is
the sum of the four neighbours less four times the pixel, of brightness in 0 … 255, edges mirrored.
"""

from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.pictures import grey
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """How sharp a picture must be. The measure grows as a picture is made smaller: choose it for your sizes."""

    variance_min: float = Field(ge=0)
    """Least variance; 100 is customary for photographs of about a megapixel."""


SAMPLE = Config(variance_min=100.0)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """That it is blurred; a picture of one brightness is."""
    from scipy.ndimage import laplace

    if view.pixels is None:
        return
    variance = float(laplace(grey(view.pixels), mode="mirror").var())
    if variance < cfg.variance_min:
        yield Reject("blurred", f"variance {variance:.1f} < {cfg.variance_min:g}")
