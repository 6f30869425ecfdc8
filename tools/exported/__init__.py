"""Exported files: written, proved to do the same, quantised, run; `tools/onnx_detector.py` detects by them."""
