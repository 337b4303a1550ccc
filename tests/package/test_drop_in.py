"""Whatever works on the contrib's names works on ours after changing the import line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib

import workflow_streams as ours

# Defaults that differ on purpose; docs/migrating.md tells of them.
OTHER_DEFAULTS = {"batch_interval": timedelta(milliseconds=100)}


def members() -> Iterator[tuple[str, str]]:
    for name in contrib.__all__:
        cls = getattr(contrib, name)
        for member, value in vars(cls).items():
            public = member == "__init__" or not member.startswith("_")
            if public and (callable(getattr(cls, member)) or isinstance(value, property)):
                yield name, member


def type_parameters(cls: Any) -> tuple[Any, ...]:
    return getattr(cls, "__parameters__", ())


def parameters(cls: Any, member: str) -> list[inspect.Parameter]:
    return list(inspect.signature(getattr(cls, member)).parameters.values())


@pytest.mark.parametrize("name", contrib.__all__)
def test_every_name_exists_and_is_the_same_kind_of_thing(name: str) -> None:
    theirs, mine = getattr(contrib, name), getattr(ours, name)
    assert isinstance(mine, type)
    assert issubclass(mine, Exception) == issubclass(theirs, Exception)
    assert len(type_parameters(mine)) == len(type_parameters(theirs))
    if dataclasses.is_dataclass(theirs):
        assert dataclasses.is_dataclass(mine)
        fields = [field.name for field in dataclasses.fields(theirs)]
        assert [field.name for field in dataclasses.fields(mine)][: len(fields)] == fields


@pytest.mark.parametrize(("name", "member"), list(members()))
def test_every_member_takes_the_same_parameters(name: str, member: str) -> None:
    theirs, mine = getattr(contrib, name), getattr(ours, name)
    if isinstance(vars(theirs)[member], property):
        assert isinstance(inspect.getattr_static(mine, member), property)
        return
    assert isinstance(inspect.getattr_static(mine, member), type(vars(theirs)[member]))
    awaited = inspect.iscoroutinefunction(getattr(theirs, member))
    assert inspect.iscoroutinefunction(getattr(mine, member)) == awaited
    expected = parameters(theirs, member)
    got = {parameter.name: parameter for parameter in parameters(mine, member)}
    assert list(got)[: len(expected)] == [parameter.name for parameter in expected]
    for parameter in expected:
        assert got[parameter.name].kind == parameter.kind
        default = OTHER_DEFAULTS.get(parameter.name, parameter.default)
        assert got[parameter.name].default == default
    added = [got[extra] for extra in list(got)[len(expected) :]]
    # Options that several members share stand in a TypedDict, and none of them is required.
    added = [
        parameter for parameter in added if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    assert not ours.ReadOptions.__required_keys__
    assert all(parameter.default is not inspect.Parameter.empty for parameter in added)
    # A positional argument more would be taken for something else by a later contrib.
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in added if member != "__init__")


def test_the_context_manager_is_the_same() -> None:
    for method in ("__aenter__", "__aexit__"):
        assert hasattr(contrib.WorkflowStreamClient, method)
        assert inspect.iscoroutinefunction(getattr(ours.WorkflowStreamClient, method))
