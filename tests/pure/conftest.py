"""Profiles of the property tests: no deadlines, since timing is no pass mark."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow]
settings.register_profile("default", deadline=None, suppress_health_check=_SLOW)
# Where branches are counted, the same few examples each time.
settings.register_profile(
    "coverage",
    deadline=None,
    suppress_health_check=_SLOW,
    derandomize=True,
    max_examples=20,
)
settings.register_profile("long", deadline=None, suppress_health_check=_SLOW, max_examples=5_000)
settings.load_profile("default")
