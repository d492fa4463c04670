"""What comes after a job's frames: its video, statistics and report, each made and stored."""
