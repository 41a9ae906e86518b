"""From a distance to an answer."""
