"""Measurements: each beside a floor or a peer, in the same run. See docs/measurements.md."""
