"""The programs that povstorm runs, and whether POV-Ray is contained."""
