"""Who becomes a record (I3, I6)."""
