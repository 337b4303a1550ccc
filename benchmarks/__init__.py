"""Measures this package beside `temporalio.contrib.workflow_streams`, in one run on one server."""
