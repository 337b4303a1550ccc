"""The rules in a token's claim, and what they allow a request to do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from ..refusals import ForbiddenError
from .patterns import Pattern

Action = Literal["read", "write", "cancel", "list", "metrics"]
"""What a request wants to do. Rules name all of these but ``list``, which follows from ``read``."""

Allowed = Literal["read", "write", "cancel", "metrics"]

ALL_ACTIONS: frozenset[Allowed] = frozenset(get_args(Allowed))
WHOLE_STREAM = (
    "The credentials allow writing to certain topics only. This concerns the stream as a whole: "
    "making, closing or deleting it, or Stream-Seq, which is compared over all its writers."
)
_RULE_FIELDS = frozenset({"ids", "topics", "actions"})


class InvalidRulesError(ValueError):
    """A token's claim is not a list of rules."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission.

    Attributes:
        ids: Patterns of the workflow ids to which it applies.
        actions: What it allows.
        topics: The only topics that may be read or written; None for all.
    """

    ids: tuple[Pattern, ...]
    actions: frozenset[Allowed]
    topics: frozenset[str] | None = None

    def covers(self, action: Allowed, workflow_id: str) -> bool:
        """Whether the rule allows ``action`` on this workflow, at least on some topic."""
        return action in self.actions and any(p.matches(workflow_id) for p in self.ids)


EVERYTHING: tuple[Rule, ...] = (Rule((Pattern("*"),), ALL_ACTIONS),)
"""The rules of a gateway without login."""


def parse_rules(claim: object) -> tuple[Rule, ...]:
    """Read the claim: a list of ``{"ids": [...], "actions": [...], "topics": [...]}``.

    ``topics`` may be left out, which means all topics. Any other field that is missing or unknown
    makes the claim invalid: a restriction that this version does not know must not be ignored.

    Raises:
        InvalidRulesError: The claim does not have this form.
        ValueError: A pattern in it is malformed.
    """
    if not isinstance(claim, list):
        raise InvalidRulesError("the claim is not a list of rules")
    return tuple(_parse_rule(rule) for rule in claim)


def _parse_rule(rule: object) -> Rule:
    if not isinstance(rule, Mapping):
        raise InvalidRulesError("a rule is not an object")
    unknown = set(rule) - _RULE_FIELDS
    if unknown:
        raise InvalidRulesError(f"a rule has unknown fields {sorted(unknown)}")
    actions = frozenset(_strings(rule, "actions"))
    if not actions or not actions <= ALL_ACTIONS:
        raise InvalidRulesError(f"a rule's actions are not among {sorted(ALL_ACTIONS)}")
    ids = tuple(Pattern(text) for text in _strings(rule, "ids")) if "ids" in rule else ()
    if not ids and actions != {"metrics"}:
        raise InvalidRulesError("a rule names no workflow ids")
    topics = frozenset(_strings(rule, "topics")) if "topics" in rule else None
    return Rule(ids, cast("frozenset[Allowed]", actions), topics)


def _strings(rule: Mapping[str, object], field: str) -> list[str]:
    value = rule.get(field)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidRulesError(f"a rule's {field} are not a list of strings")
    return cast("list[str]", value)


def decide(
    rules: Iterable[Rule], action: Action, workflow_id: str, topics: Collection[str]
) -> frozenset[str] | None:
    """Return the topics that the request may touch: None for all, never an empty set.

    A read that names no topic gets those that the rules allow, so that a page need not know what
    its token allows. A read that names a topic that is not allowed is refused, since otherwise it
    would look like a topic without items. A write that names no topic is about the stream as a
    whole (create, close, delete, order by ``Stream-Seq``), and needs a rule for all topics. Topics
    make no difference to ``cancel`` and ``list``.

    Raises:
        ForbiddenError: No rule allows it.
    """
    if action == "metrics":
        allowing = [rule for rule in rules if "metrics" in rule.actions]
    elif action == "list":
        allowing = [rule for rule in rules if "read" in rule.actions]
    else:
        allowing = [rule for rule in rules if rule.covers(action, workflow_id)]
    if not allowing:
        raise ForbiddenError
    if action not in ("read", "write") or any(rule.topics is None for rule in allowing):
        return frozenset(topics) or None
    allowed = frozenset[str]().union(*(rule.topics or () for rule in allowing))
    if not topics and action == "write":
        raise ForbiddenError(WHOLE_STREAM)
    if not allowed or not allowed.issuperset(topics):
        raise ForbiddenError("The credentials do not allow all of these topics.")
    return frozenset(topics) or allowed


def is_limited(rules: Iterable[Rule], action: Action, workflow_id: str) -> bool:
    """Whether the rules, as far as they allow ``action`` on this workflow, limit its topics."""
    if action not in ("read", "write"):
        return False
    allowing = (rule for rule in rules if rule.covers(action, workflow_id))
    return all(rule.topics is not None for rule in allowing)
