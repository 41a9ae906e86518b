"""How a narrow network inherits a teacher's upper blocks: its frames, the least-squares fit, and the two stages."""
