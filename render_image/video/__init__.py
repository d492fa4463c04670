"""Encoding frames into a segment of a video with ffmpeg, here and in the container."""
