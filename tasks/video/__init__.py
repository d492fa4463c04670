"""Encoding frames into a video with ffmpeg."""
