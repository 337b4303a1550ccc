"""Publishing to the streams of other workflows from workflow code."""
