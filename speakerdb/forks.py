"""Locks that a child of this process does not inherit held."""

from __future__ import annotations

import os
import threading


def lock_across_forks() -> threading.RLock:
    """A lock that a fork waits for, and that is free in the child: what it guards is whole there."""
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
