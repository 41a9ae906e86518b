"""Vector indexes behind one protocol, and their snapshots on disk."""
