"""From a trained network to result files: pictures in, boxes out, whole pictures put together again."""
