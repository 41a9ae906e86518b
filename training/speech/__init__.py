"""The speech detector: Silero's verdicts on clean clips → recordings mixed from them → a network that needs little."""
