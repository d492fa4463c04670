"""The scene as the user has it: ini files, frames, and the files that a scene needs."""
