"""What the gateway tells of itself: logs, metrics, and whether it is ready."""
