"""What the flow does with a job's frames: map them, follow them, remember what they took."""
