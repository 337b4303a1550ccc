"""What runs in processes of its own: workers, publishers, readers.

A role gets its options as JSON, says what it has to say as JSON lines, and is told what to do
by lines on its standard input.
"""
