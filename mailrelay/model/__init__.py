"""The product's words as frozen data; no I/O and no defaults that hide decisions."""
