"""llama.cpp through llama-cpp-python's own bindings: rounding a file, nats of documents, and tokens under a clock.

Run by the peers' Python, in a process of its own:
`quantize SOURCE OUT TYPE`; `score MODEL DOCUMENTS`; `decode MODEL THREADS`, which generates once a line that it reads.
"""

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

THREADS = 2


def quantize(source: str, out: str, kind: str) -> None:
    """Round a GGUF file, as llama.cpp's own tool does (TYPE as `LLAMA_FTYPE_MOSTLY_…`)."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.nthread = THREADS
    if llama_cpp.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params)):
        raise SystemExit(f"llama.cpp could not round {source} to {kind}")


class Opened:
    """A model with a context of so many tokens."""

    def __init__(self, model: str, tokens: int, threads: int = THREADS) -> None:
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp could not load {model}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = tokens
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def forget(self) -> None:
        """Begin a new text."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def logits(self, ids: list[int], every: bool) -> Any:
        """Of the tokens after each of these, or after the last: (tokens, vocab); a view that the next call changes."""
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for at, token in enumerate(ids):
            batch.token[at], batch.pos[at] = token, at
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
            batch.logits[at] = every or at == len(ids) - 1
        if llama_cpp.llama_decode(self.context, batch):
            raise SystemExit("llama.cpp could not decode")
        llama_cpp.llama_batch_free(batch)
        return self.last(len(ids) if every else 1)

    def step(self, token: int) -> Any:
        """Logits after one further token: (vocab,)."""
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one((ctypes.c_int32 * 1)(token), 1)):
            raise SystemExit("llama.cpp could not decode")
        return self.last(1)[0]

    def last(self, rows: int) -> Any:
        """What the last call gave: (rows, vocab)."""
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), shape=(rows, self.words))


def score(model: str, documents: str) -> None:
    """Print the sum of nats over the tokens that are judged; DOCUMENTS is JSON: [ids, which of them are judged]."""
    rows = json.loads(Path(documents).read_text(encoding="utf-8"))
    opened, total = Opened(model, max(len(ids) for ids, _ in rows)), 0.0
    for ids, judged in rows:
        opened.forget()
        logits = opened.logits(ids[:-1], True).astype(np.float64)
        wanted = logits[np.arange(len(ids) - 1), ids[1:]]
        peak = logits.max(1)
        nats = np.log(np.exp(logits - peak[:, None]).sum(1)) + peak - wanted
        total += float(nats[np.array(judged[1:])].sum())
    print(total)


def decode(model: str, threads: str) -> None:
    """For each line `[prompt's ids, tokens to generate]` print the seconds of each token but the first, greedily."""
    opened = None
    for line in sys.stdin:
        prompt, new_tokens = json.loads(line)
        opened = opened or Opened(model, len(prompt) + new_tokens, int(threads))
        opened.forget()
        token, seconds = int(opened.logits(prompt, False)[0].argmax()), []
        for _ in range(new_tokens - 1):
            begun = time.perf_counter()
            token = int(opened.step(token).argmax())
            seconds.append(time.perf_counter() - begun)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    {"quantize": quantize, "score": score, "decode": decode}[sys.argv[1]](*sys.argv[2:])
