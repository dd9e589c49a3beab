"""Pixel and links: signed tokens, HTML rewritten by splicing, and who it was that came (O9, K1). Pure."""
