"""Which labels are probably wrong, by what a network finds: `tools/review_labels.py`."""
