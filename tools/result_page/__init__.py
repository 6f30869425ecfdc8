"""The page that shows results in a browser: `tools/show_results.py`."""
