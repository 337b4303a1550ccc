"""docs/gateway-security.md says what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from workflow_streams.errors import UsageError
from workflow_streams.gateway import GatewaySettings
from workflow_streams.gateway.layers.limit_settings import LimitSettings
from workflow_streams.gateway.security import Secret, SecuritySettings
from workflow_streams.gateway.security.claims import ALL_ACTIONS, decide, parse_rules
from workflow_streams.gateway.security.credentials.keys import MIN_RSA_BITS

PAGE = Path(__file__).parents[3] / "docs" / "gateway-security.md"
TEXT = PAGE.read_text()

UNITS = {"KiB": 1024, "MiB": 1024 * 1024}


def rows_of(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_limits_have_the_defaults_that_the_page_tells() -> None:
    told: dict[str, float | None] = {}
    for names, default, _ in rows_of("Limits"):
        if default == "none":
            told[names.strip("`")] = None
            continue
        numbers = re.findall(r"(?<![/\d])([\d,]+)(?: (KiB|MiB|s))?\b", default.split("(")[0])
        for name, (number, unit) in zip(re.findall(r"`(\w+)`", names), numbers, strict=False):
            told[name] = float(number.replace(",", "")) * UNITS.get(unit, 1)
    defaults = LimitSettings()
    assert told == {name: getattr(defaults, name) for name in LimitSettings.__slots__}


def test_the_example_of_rules_means_what_the_page_says() -> None:
    [example] = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    rules = parse_rules(json.loads(example)["streams"])
    assert decide(rules, "read", "order-1", []) == {"status"}
    assert decide(rules, "cancel", "chat-7", []) is None
    assert decide(rules, "metrics", "", []) is None
    fields = TEXT.split("| field |")[1].split("\n\n")[0]
    actions = next(line for line in fields.splitlines() if line.startswith("| `actions`"))
    assert set(re.findall(r"`(\w+)`", actions)) >= ALL_ACTIONS


def test_the_settings_and_variables_on_the_page_exist() -> None:
    settings = {name for name, *_ in (row[0].split(",") for row in rows_of("Bearer tokens"))}
    names = {name.strip("`") for name in settings} - {"ids", "actions", "topics"}
    assert names <= set(SecuritySettings.__slots__)
    assert len(names) == 7
    asked: set[str] = set()

    class Recording(dict[str, str]):
        def get(self, name: str, default: object = None) -> None:  # type: ignore[override]
            asked.add(name)

    GatewaySettings.from_env(Recording())
    named = set(re.findall(r"WORKFLOW_STREAMS_[A-Z_]+", TEXT))
    assert named <= asked
    defaults = SecuritySettings()
    assert f"by how much clocks may differ; {defaults.leeway_seconds:g}" in TEXT
    assert f"`seconds` ({defaults.signed_url_seconds:g};" in TEXT
    assert f"at most {defaults.max_signed_url_seconds:,.0f})" in TEXT


def test_the_key_sizes_on_the_page_are_enforced() -> None:

    assert f"{MIN_RSA_BITS:,} bits or more" in TEXT
    assert "at least 32 bytes" in TEXT
    assert SecuritySettings(jwt_secret=Secret("x" * 32)).has_token_keys
    with pytest.raises(UsageError):
        SecuritySettings(jwt_secret=Secret("x" * 31))


def test_the_settings_have_the_defaults_that_the_other_page_tells() -> None:
    page = PAGE.with_name("gateway.md").read_text()
    table = page.split("| setting | default | what it is for |\n")[1].split("\n\n")[0]
    rows = [[cell.strip(" `") for cell in row.split("|")[1:3]] for row in table.splitlines()[1:]]
    told = {name: default.replace(",", "") for name, default in rows}
    defaults = GatewaySettings()
    names = set(GatewaySettings.__slots__) - {"security", "limits"}
    assert told == {
        name: ""
        if name == "host_task_queue"
        else f"{getattr(defaults, name)}".lower().removesuffix(".0")
        for name in names
    }
