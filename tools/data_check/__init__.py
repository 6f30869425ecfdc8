"""What `tools/check_data.py` looks at, finds, tells and mends."""
