"""Questions to DNS and their answers."""
