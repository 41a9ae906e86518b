"""Whether rates and likelihood ratios are what they say: `python -m benchmarks.decisions`."""

TEST = ("common_voice-test", "speech_commands-test")
FMRS = (0.05, 0.01, 0.003, 0.001)
FPIRS = (0.1, 0.03, 0.01, 0.003)
SIZES = (100, 300, 1000, 3000)
