"""Text for people, and the files it is written to."""
