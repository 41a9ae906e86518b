"""The rules of enrolling, identifying and verifying."""
