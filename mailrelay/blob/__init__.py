"""Large bodies by digest: durable when `put` returns."""
