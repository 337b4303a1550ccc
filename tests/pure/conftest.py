"""Profiles of the property tests; none has a deadline, since timing is no pass mark."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", common)
# Where branches are counted: few examples, and the same ones each time.
settings.register_profile("coverage", common, derandomize=True, max_examples=5)
settings.register_profile("long", common, max_examples=2_000)
if settings.get_current_profile_name() == "default":
    settings.load_profile("usual")
