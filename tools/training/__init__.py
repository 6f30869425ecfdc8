"""Training, from its settings to its last checkpoint; `tools/train.py` is the loop."""
