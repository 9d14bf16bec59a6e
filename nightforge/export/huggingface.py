"""A plain Hugging Face folder in safetensors, which stock transformers loads, pruned and shrunk models too.

Integers of a grid are written as the numbers that they stand for, and low-rank layers are multiplied out: what this
folder is good for is to be trained, converted and read by everything, not to be small.
"""

import json
from pathlib import Path
from typing import Any, Literal

from nightforge import models
from nightforge.errors import ConfigError
from nightforge.export import _folder
from nightforge.held import Held
from nightforge.scoring import LogitsFn

RUNTIME = "transformers"
HOW = """
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(".")
```
"""


class Config(_folder.Artifact):
    """The folder."""

    dtype: Literal["float32", "bfloat16", "float16"]
    """Of every tensor. The values of a grid are held exactly by float32 alone."""


SAMPLE = Config(tolerance=0.001, dtype="float32")


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the folder; what it changes in the model, in words.

    Raises:
        ConfigError: a number is too large for the dtype.
    """
    import torch
    from safetensors.torch import save_file

    dtype = getattr(torch, cfg.dtype)
    weights = {name: tensor.to(dtype).contiguous() for name, tensor in _folder.tensors(plain).items()}
    if large := sorted(name for name, tensor in weights.items() if not tensor.isfinite().all()):
        raise ConfigError(f"{cfg.dtype} cannot hold all numbers of {', '.join(large[:3])}. Use bfloat16 or float32.")
    _folder.copy_words(plain, out, _folder.OF_MODEL)
    facts = json.loads((plain / "config.json").read_text(encoding="utf-8")) | {"dtype": cfg.dtype}
    (out / "config.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return [] if cfg.dtype == "float32" else [f"every number is rounded to {cfg.dtype}"]


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """The model, computed in fp32, as a function of tokens; and its tokenizer."""
    model, words = models.read_transformers(folder)
    return models.logits_fn(model.eval()), words
