"""The activities of the samples; each publishes to the stream of its workflow."""
