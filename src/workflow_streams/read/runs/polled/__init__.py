"""Streams that a contrib hosts: their runs are polled, and their hosts are asked."""
