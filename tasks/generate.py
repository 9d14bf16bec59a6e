"""`nightforge generate`: try the model that was accepted, or the dense one that it was made from."""

import json
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nightforge import models
from nightforge.errors import AssetMissing, ConfigError, ContractNotMet
from nightforge.tokenizer import NO_LABEL
from nightforge.tokenizer import label_token as token_of
from tasks import wiring

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Which = Literal["compressed", "dense"]
ARRAYS = {"array", "onnx"}
"""Loaders of images and sounds."""
MADE_BY: dict[Which, str] = {"compressed": "compress", "dense": "train"}


class Sampling(NamedTuple):
    """How to sample: `longest` counts the start as well, in tokens; a temperature of 0 takes the likeliest token."""

    n: int
    longest: int
    temperature: float
    seed: int


def generate(
    project: Path,
    *,
    label: str | None,
    prompt: str,
    n: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    model: Which = "compressed",
    refused_too: bool = False,
) -> list[str]:
    """Sample `n` texts of a class, each going on from `prompt`; a text is returned without its label, with its prompt.
    An encoder-decoder answers the prompt, and its answers are returned.

    A `temperature` of 0 takes the likeliest token each time. The same seed gives the same texts. Of images and sounds
    the files are returned that `n` of the label, or of each, were written to.

    Raises:
        AssetMissing: the project has no such model yet.
        ContractNotMet: the compressed model was refused, or never judged, and `refused_too` was not asked for.
        ConfigError: a class that the model was not trained on, a value out of bounds, a prompt for images or sounds.
    """
    if n < 1 or max_new_tokens < 1 or temperature < 0:
        raise ConfigError(
            "expected n ≥ 1, max_new_tokens ≥ 1 and temperature ≥ 0, "
            f"got n={n}, max_new_tokens={max_new_tokens}, temperature={temperature}."
        )
    folder = _folder(project, model)
    if model == "compressed" and not refused_too:
        _accepted(project)
    card = models.card(folder)
    if card["loader"] in ARRAYS:
        if prompt:
            raise ConfigError(f"a prompt is for models of texts, got {prompt!r}: ask for images and sounds by --label.")
        made_of: list[str] = import_module("tasks.generate_array").generate(folder, project, label, n, seed)
        return made_of
    tokenizer = _tokenizer(folder)
    start = [label_token(tokenizer, label), *tokenizer.encode(prompt, add_special_tokens=False).ids]
    if card.get("class") == models.SEQ2SEQ:
        respond = import_module("tasks.generate_seq2seq").respond
        answers = respond(folder, start, n, max_new_tokens, temperature, seed)
        return [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
    sample = _sample_onnx if model == "compressed" else _sample_dense
    made = sample(folder, start, Sampling(n, _longest(folder, start, max_new_tokens), temperature, seed))
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in made]


def labels(tokenizer: "Tokenizer") -> list[str]:
    """The classes that a model was trained on, from the label tokens of its vocabulary."""
    before, after = token_of("\0").split("\0")
    names = (t for t in tokenizer.get_vocab() if t.startswith(before) and t.endswith(after))
    return sorted(t.removeprefix(before).removesuffix(after) for t in names)


def label_token(tokenizer: "Tokenizer", label: str | None) -> int:
    """The token that conditions on a class; None is a text of no class.

    Raises:
        ConfigError: the model knows no such class; the message names the nearest.
    """
    token = tokenizer.token_to_id(token_of(label))
    if token is not None:
        return int(token)
    have = [name for name in labels(tokenizer) if name != NO_LABEL]
    if label is None:
        raise ConfigError(f"this model wants a class. There are: {', '.join(have)}.")
    near = get_close_matches(label, have, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"the model knows no class {label!r}.{hint} There are: {', '.join(have) or 'none'}.")


def _folder(project: Path, model: Which) -> Path:
    folder = project / wiring.stage(MADE_BY[model], project).paths[model]
    if not (folder / models.CARD).exists():
        raise AssetMissing(
            f"expected a model in {folder}, found none. Make one with `make run`, "
            f"or fetch the recorded one with `dvc checkout {folder.relative_to(project).as_posix()}`."
        )
    return folder


def _accepted(project: Path) -> None:
    """Raises ContractNotMet unless the last verdict on the compressed model is MET."""
    path = project / wiring.stage("accept", project).metrics[0]
    if not path.exists():
        raise ContractNotMet(
            f"the compressed model has no verdict: {path} does not exist. Finish the run with `make run`, "
            "try the dense model, or say that a model that was not accepted will do (--refused-too)."
        )
    judged: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if judged["verdict"] != "MET":
        why = "; ".join(judged.get("reasons", [])) or "no reason was recorded"
        raise ContractNotMet(
            f"the compressed model was refused ({judged['verdict']}: {why}). Try the dense model, "
            "or say that a refused one will do (--refused-too)."
        )


def _tokenizer(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # a prompt is data: "<|eos|>" in it is spelled out, never read as the token
    return tokenizer


def _longest(folder: Path, start: list[int], max_new_tokens: int) -> int:
    """The longest sequence to make, in tokens: the context length of the model bounds it.

    Raises:
        ConfigError: the prompt alone fills the context.
    """
    context = int(models.card(folder)["context_length"])
    if len(start) >= context:
        raise ConfigError(f"the prompt is {len(start)} tokens and the model's context {context}; shorten it.")
    return min(context, len(start) + max_new_tokens)


def _sample_onnx(folder: Path, start: list[int], how: Sampling) -> list[list[int]]:
    """By ONNX Runtime GenAI (Generator API of 0.18); one generator a text, so that text i depends on seed + i alone."""
    import onnxruntime_genai as og

    runtime = og.Model(str(folder))
    made = []
    for i in range(how.n):
        params = og.GeneratorParams(runtime)
        options: dict[str, Any] = {"max_length": how.longest, "do_sample": how.temperature > 0}
        if how.temperature > 0:
            options |= {"temperature": how.temperature, "top_k": 0, "top_p": 1.0, "random_seed": how.seed + i}
        params.set_search_options(**options)
        generator = og.Generator(runtime, params)
        generator.append_tokens([start])
        while not generator.is_done():
            generator.generate_next_token()
        made.append([int(t) for t in generator.get_sequence(0)][1:])
    return made


def _sample_dense(folder: Path, start: list[int], how: Sampling) -> list[list[int]]:
    """By transformers on the CPU, in fp32."""
    import torch

    model = models.load(folder).model
    options: dict[str, Any] = {"max_length": how.longest, "do_sample": how.temperature > 0}
    if how.temperature > 0:
        options |= {"temperature": how.temperature, "top_k": 0}
    made = []
    for i in range(how.n):
        torch.manual_seed(how.seed + i)
        ids = torch.tensor([start])  # (batch=1, seq)
        with torch.no_grad():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), pad_token_id=model.generation_config.eos_token_id, **options
            )
        made.append(out[0].tolist()[1:])
    return made
