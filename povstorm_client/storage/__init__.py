"""Where everything lives: the Storage protocol, a folder, a bucket, and which key holds what."""
