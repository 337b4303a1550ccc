"""What the gateway tells of itself: logs and numbers."""
