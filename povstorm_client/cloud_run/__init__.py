"""Google Cloud Run: what it costs and allows, how frames are shared out, and its Admin API."""
