"""A message onto its records: gather, decide, apply."""
