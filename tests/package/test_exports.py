"""The public names: listed, sorted, importable, and no others."""

from __future__ import annotations

import importlib
import types
from typing import Any

import pytest

import workflow_streams
from workflow_streams import errors

PACKAGES = [
    "workflow_streams",
    "workflow_streams.embedded",
    "workflow_streams.gateway",
    "workflow_streams.hosted",
    "workflow_streams.testing",
]


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as linters sort them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_holds_exactly_the_public_names(name: str) -> None:
    package = importlib.import_module(name)
    for listed in package.__all__:
        assert getattr(package, listed) is not None  # some are loaded when they are first used
    public = [
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]
    assert package.__all__ == sorted(public, key=order)


def test_each_public_name_is_documented() -> None:
    for name in workflow_streams.__all__:
        value: Any = getattr(workflow_streams, name)
        if isinstance(value, type):
            members = [m for m in vars(value) if not m.startswith("_")]
            undocumented = [
                member
                for member in members
                if callable(getattr(value, member)) and not getattr(value, member).__doc__
            ]
            assert not undocumented, name
        assert value.__doc__, name


def test_every_error_is_in_the_drawn_tree_and_in_one_hierarchy() -> None:
    own = [
        value
        for name, value in vars(errors).items()
        if isinstance(value, type) and not name.startswith("_")
    ]
    assert all(issubclass(error, errors.WorkflowStreamError) for error in own)
    assert errors.__doc__ is not None
    drawn = [word for word in errors.__doc__.replace("─", " ").split() if word.endswith("Error")]
    assert set(drawn) == {error.__name__ for error in own}


def test_each_error_can_be_imported_from_the_package() -> None:
    for name, value in vars(errors).items():
        if isinstance(value, type) and not name.startswith("_"):
            assert name in workflow_streams.__all__
            assert getattr(workflow_streams, name) is value


def test_errors_that_have_a_fitting_builtin_are_caught_by_it() -> None:
    for error, builtin in [
        (errors.UsageError, RuntimeError),
        (errors.TopicTypeError, RuntimeError),
        (errors.EncodeError, ValueError),
        (errors.ItemTooLargeError, ValueError),
        (errors.DecodeError, ValueError),
        (errors.BatchTooLargeError, ValueError),
        (errors.InvalidOffsetError, ValueError),
        (errors.ForkOffsetError, ValueError),
        (errors.PublishTimeoutError, TimeoutError),
    ]:
        assert issubclass(error, builtin)
