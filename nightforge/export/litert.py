"""A LiteRT model (.tflite), for phones and edge devices: a graph of so many tokens → logits, in fp32.

By litert-torch 0.10, which is no extra of Nightforge: through xdsl 0.28 it wants typing-extensions < 4.13, and
pydantic 2.13 a newer one. Where it is not installed nothing is begun. The graph reads one row of a fixed length at once
and has no past, so that it scores, and generates slowly; integers of a grid are written as the numbers that they stand
for.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge.errors import AssetMissing, ConfigError, DataError
from nightforge.export import _decoder, _folder
from nightforge.held import Held
from nightforge.scoring import Ids, LogitsFn

RUNTIME = "litert"
FILE = "model.tflite"
PACKAGES = "litert-torch==0.10.0 ai-edge-litert==2.3.0 litert-converter==0.5.0 xdsl==0.28.0"
HOW = """
It takes the token ids of one row, int32, filled up on the right to the graph's length, and gives logits of each.

```python
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("model.tflite").get_signature_runner()
(logits,) = run(args_0=ids).values()
```
"""


class Config(_folder.Artifact):
    """The graph."""

    tokens: int = Field(ge=1, le=131_072)
    """Length of the row that it reads; shorter ones are filled up, longer ones it cannot read."""


SAMPLE = Config(tolerance=0.001, tokens=64)


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the model; what it changes, in words.

    Raises:
        AssetMissing: litert-torch is not installed.
        ConfigError: the model was made for fewer tokens.
    """
    try:
        import litert_torch
    except ImportError as e:
        raise AssetMissing(
            f"litert: expected the package litert-torch, got {e}. What it depends on excludes what Nightforge does "
            f"(typing-extensions < 4.13, for xdsl), so that no extra names it; in an environment for it alone: "
            f"pip install {PACKAGES}, then pip install --no-deps nightforge"
        ) from None
    import torch

    _folder.whole(plain)
    if cfg.tokens > (most := held.model.config.max_position_embeddings):
        raise ConfigError(f"litert: expected at most the {most} tokens that the model was made for, got {cfg.tokens}.")
    made = litert_torch.convert(_decoder.without_past(held), (torch.ones(1, cfg.tokens, dtype=torch.long),))
    _folder.copy_words(plain, out, ("config.json",))
    made.export(str(out / FILE))
    return [
        f"one row of at most {cfg.tokens} tokens, without a past",
        *(["integers are written as the numbers that they stand for"] if held.grids else []),
    ]


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """The model as a function of tokens, and its tokenizer.

    Raises:
        AssetMissing: the package ai-edge-litert is not installed.
    """
    if not _folder.found("ai_edge_litert"):
        raise AssetMissing("litert: expected the package ai-edge-litert, found none. Run: pip install ai-edge-litert")
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(folder / FILE)).get_signature_runner()
    ((name, facts),) = run.get_input_details().items()
    most = int(facts["shape"][1])

    def logits(input_ids: Ids, attention_mask: Ids) -> NDArray[np.float32]:
        rows, tokens = input_ids.shape
        if tokens > most:
            raise DataError(f"{folder}: expected at most the {most} tokens that its graph reads, got {tokens}.")
        filled = np.zeros((rows, most), np.int32)
        filled[:, :tokens] = input_ids
        found = [next(iter(run(**{name: row[None]}).values()))[0, :tokens] for row in filled]
        return np.stack(found)

    return logits, _decoder.words(folder)
