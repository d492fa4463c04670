"""Comparing povstorm's pixels with those of POV-Ray's own animation loop."""
