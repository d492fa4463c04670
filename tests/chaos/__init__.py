"""Faults of every kind on real parts, drawn from a seed, with an audit after each run."""
