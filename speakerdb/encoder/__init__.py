"""Encoder bundles: find, check, run."""
