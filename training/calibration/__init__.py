"""From dev clips to a bundle's calibration: clips as users' clips are heard, trials of many conditions, the fit."""
