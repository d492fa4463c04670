"""The live page: a job in the browser while it renders, read from storage, on the loopback only."""
