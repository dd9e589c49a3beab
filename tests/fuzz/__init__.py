"""Fuzzing of what reads mail from strangers (P14): `make fuzz`."""
