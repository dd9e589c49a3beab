"""The HTTP API, one file per resource; each has a `router`, found by scanning this package."""
