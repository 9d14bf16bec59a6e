"""What exporters of a held model share: the plain folder that they read, and what they refuse."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from nightforge import config
from nightforge.errors import AssetMissing, ConfigError
from nightforge.held import Factored, Held

OF_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")
OF_MODEL = ("generation_config.json",)


class Artifact(config.Config):
    """What every artifact is held to."""

    tolerance: float = Field(gt=0, le=1)
    """Largest difference of the reloaded artifact's logits to those of the model in memory, root of the mean square as
    a share of their standard deviation: 0.001 where nothing is rounded anew, 0.05 for half precision."""


def tensors(plain: Path) -> dict[str, Any]:
    """Name → torch tensor of all *.safetensors of a Hugging Face folder.

    Raises:
        AssetMissing: it has none.
    """
    from safetensors.torch import load_file

    return {name: tensor for file in whole(plain) for name, tensor in load_file(file).items()}


def whole(plain: Path) -> list[Path]:
    """The files of weights of a Hugging Face folder.

    Raises:
        AssetMissing: it has none.
    """
    if files := sorted(plain.glob("*.safetensors")):
        return files
    raise AssetMissing(f"{plain}: expected a Hugging Face folder with *.safetensors, found none.")


def copy_words(plain: Path, out: Path, also: tuple[str, ...] = ()) -> None:
    """Bring the tokenizer, byte for byte, and what else is named; `out` is made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (*OF_TOKENIZER, *also):
        if (plain / name).is_file():
            shutil.copyfile(plain / name, out / name)


def found(package: str) -> bool:
    """Whether a package is installed."""
    return find_spec(package) is not None


def needs(package: str, extra: str) -> None:
    """Refuse to begin without a package.

    Raises:
        AssetMissing: it is not installed.
    """
    if not found(package):
        raise AssetMissing(f"expected the package {package}, found none. Install it: pip install 'nightforge[{extra}]'")


def refuse_factored(held: Held, runtime: str) -> None:
    """Refuse to multiply out a low-rank layer whose factors are held as integers: its weight would not be.

    Raises:
        ConfigError: there is one; the message names it.
    """
    factored = tuple(name for name, module in held.model.named_modules() if isinstance(module, Factored))
    if bad := sorted(name for name in held.grids if name.startswith(tuple(f"{f}." for f in factored))):
        raise ConfigError(
            f"{runtime} has no low-rank layer, and multiplied out these are no integers any more: {', '.join(bad[:3])}"
            f"{' …' if len(bad) > 3 else ''}. Leave such layers as they are in the recipe, or export it as onnx_genai."
        )
