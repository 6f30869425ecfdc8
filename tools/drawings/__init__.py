"""Pictures, pages and plots to look at, made with `tools/drawing.py`, and the files that they go to."""
