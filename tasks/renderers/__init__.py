"""Renderers: what turns a WorkUnit into a FrameResult, on this machine or elsewhere."""
