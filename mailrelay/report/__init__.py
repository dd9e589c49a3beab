"""What the journal comes to: figures and facts that are kept beside it, and can be made of it again."""
