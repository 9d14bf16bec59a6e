"""What every exporter of a model in memory must keep: `convert` and `opened`."""

from pathlib import Path
from types import ModuleType

import pytest

from nightforge.errors import AssetMissing, NightforgeError
from nightforge.grids import Spec
from tests import held_models
from tests.small_lm import Small


def check_artifact(module: ModuleType, small: Small, folder: Path) -> None:
    """The same bytes twice, the logits in memory, the same tokens; or a package that is not there, and no folder."""
    assert module.RUNTIME, "an exporter names the runtime that loads what it writes"
    held = held_models.shallow(held_models.rounded(small, {"model.layers.*": Spec(4, 32, True)}))
    before = held_models.logits(held.model)
    plain = held_models.plain(held, small.tokenizer, folder / "plain")
    made = []
    for name in ("one", "other"):
        try:
            remarks = module.convert(held, plain, folder / name, module.SAMPLE)
        except AssetMissing:
            assert not (folder / name).exists(), "half an export was kept"
            return
        files = {
            p.relative_to(folder / name): p.read_bytes() for p in sorted((folder / name).rglob("*")) if p.is_file()
        }
        made.append((remarks, files))
        assert isinstance(remarks, list) and all(isinstance(r, str) for r in remarks), "remarks are sentences"
    assert made[0][0] == made[1][0], "the same remarks twice"
    assert made[0][1].keys() == made[1][1].keys()
    assert not (odd := [k for k, v in made[0][1].items() if v != made[1][1][k]]), f"other bytes each time: {odd}"
    assert (held_models.logits(held.model) == before).all(), "an exporter leaves the model as it is"
    logits, words = module.opened(folder / "one")
    found = logits(held_models.IDS, held_models.IDS**0)
    apart = held_models.apart(found, before)
    assert apart <= module.SAMPLE.tolerance, f"expected logits within {module.SAMPLE.tolerance}, got {apart}"
    texts = ["the tall river has green leaves, and 12 more", " 3  spaces\n\tnaïve café 漢字 👩‍🚀 it's"]
    expected = [small.tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    assert [words(t, add_special_tokens=False)["input_ids"] for t in texts] == expected, "other tokens"
    with pytest.raises(NightforgeError):
        module.convert(held, folder / "nowhere", folder / "nothing", module.SAMPLE)
    assert not (folder / "nothing").exists(), "half an export was kept"
