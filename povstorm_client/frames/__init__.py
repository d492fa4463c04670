"""What a frame is, and what became of it: settings, work unit, result."""
