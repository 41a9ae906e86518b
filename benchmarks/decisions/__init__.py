"""Whether rates and likelihood ratios are what they say: `python -m benchmarks.decisions`."""
