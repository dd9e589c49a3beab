"""Which records a mail is about (I4)."""
