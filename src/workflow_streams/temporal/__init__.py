"""What touches the Temporal SDK: connections, calls, codecs, the plugin."""
