"""A Hugging Face folder → a folder that ONNX Runtime GenAI loads, by its own model builder, offline.

`onnxruntime_genai.models.builder` (0.18) prints, writes into its working directory and changes global state, so it
runs in a process of its own: this file says what to run (`arguments`) and keeps what the runtime reads (`write`). Its
graph is in fp32; `hold` puts our integers into it. Equal inputs give equal bytes.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from nightforge import config
from nightforge.blocks import Rows
from nightforge.errors import ConfigError, DataError
from nightforge.export import _kv_cache
from nightforge.export._genai_graph import Rewriting
from nightforge.held import Held

RUNTIME = "onnxruntime-genai"
HOW = """
```python
import onnxruntime_genai as og

model = og.Model(".")
words = og.Tokenizer(model)
params = og.GeneratorParams(model)
params.set_search_options(max_length=128)
generator = og.Generator(model, params)
generator.append_tokens(words.encode("A text begins"))
while not generator.is_done():
    generator.generate_next_token()
print(words.decode(generator.get_sequence(0)))
```

`nightforge generate` writes texts with the accepted model.
"""
BUILDER = "onnxruntime_genai.models.builder"
FILES = ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json", "tokenizer_config.json")
"""What the runtime reads; anything else that the builder leaves is not kept."""
OF_DENSE = ("tokenizer.json", "chat_template.jinja")
"""What comes from the dense model, byte for byte: by another tokenizer or template, other tokens would be scored."""


class Config(config.Config):
    """Where the exported model will run, and how long its export may take."""

    execution_provider: Literal["cpu", "cuda", "dml"]
    """ONNX Runtime's execution provider."""

    timeout_s: int = Field(ge=10, le=86_400)
    """Seconds after which the export is given up."""

    accuracy_level: int = Field(ge=1, le=4)
    """Activations where they meet integer weights: 1 fp32, 2 fp16, 3 bf16, 4 int8 (fastest on a CPU, and a little
    coarser)."""

    rest: Literal["fp32", "fp16"]
    """How matrices that no recipe holds as integers are stored; the arithmetic is fp32."""

    kv_cache: Literal["fp32", "int8", "int4"]
    """Keys and values of the tokens so far; integers, which calibration data scale, take a quarter or an eighth."""

    @model_validator(mode="after")
    def _has_a_kernel(self) -> Self:
        if self.kv_cache != "fp32" and self.execution_provider == "dml":
            raise ValueError(f"expected execution_provider cpu or cuda with kv_cache: {self.kv_cache}, got dml")
        return self


SAMPLE = Config(execution_provider="cpu", timeout_s=600, accuracy_level=4, rest="fp32", kv_cache="fp32")


def arguments(plain: Path, built: Path, cache: Path, options: Mapping[str, str], cfg: Config) -> list[str]:
    """The command line of the model builder, after `python -m`.

    Args:
        plain: Hugging Face folder with config.json, safetensors and tokenizer.
        built: folder that the builder makes.
        cache: folder for its temporary files.
        options: the builder's extra options.
        cfg: where the model will run.
    """
    extra = ["--extra_options", *(f"{k}={v}" for k, v in sorted(options.items()))] if options else []
    where = ["-i", str(plain.resolve()), "-o", str(built), "-c", str(cache)]
    return [BUILDER, "-m", "model", *where, "-p", "fp32", "-e", cfg.execution_provider, *extra]


def options(held: Held, rows: Sequence[Rows], cfg: Config, folder: Path) -> dict[str, str]:
    """Extra options of the builder for a model in memory; what they name is written into the folder.

    Raises:
        ConfigError: a cache of integers, and nothing to calibrate it on.
    """
    if cfg.kv_cache == "fp32":
        return {}
    if not rows:
        raise ConfigError(f"compress.export: kv_cache {cfg.kv_cache} needs rows of calibration data, got none.")
    found = _kv_cache.scales(held.model, rows, int(cfg.kv_cache.removeprefix("int")))
    path = folder / "kv_cache.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return {"kv_cache_quant_scheme": f"{cfg.kv_cache}_per_channel", "kv_cache_scale_file": str(path)}


def hold(built: Path, held: Held, cfg: Config) -> dict[str, str]:
    """Put the weights as the model in memory holds them into the fp32 graph that the builder made of it.

    Returns:
        Layer → why its integers take more bits than they have.

    Raises:
        DataError: the graph holds other weights than the model, or has no place for one of its grids.
    """
    rewriting = Rewriting(built, held, cfg.accuracy_level)
    rewriting.run(cfg.rest == "fp16")
    rewriting.save(built)
    return rewriting.larger


def write(built: Path, dense: Path, out: Path) -> None:
    """Keep of what the builder made only what the runtime reads, with the dense model's tokenizer and chat template.

    Raises:
        DataError: the builder left one of the files out.
    """
    if missing := [f for f in FILES if not (built / f).is_file()]:
        raise DataError(f"the model builder ended without writing {', '.join(missing)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in {*FILES} - {*OF_DENSE}:
        shutil.copyfile(built / name, out / name)
    for name in OF_DENSE:
        if (dense / name).is_file():
            shutil.copyfile(dense / name, out / name)
