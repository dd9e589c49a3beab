"""Who is none of our business (I5)."""
