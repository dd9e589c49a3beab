"""The installation's configuration: one YAML file, typed, checked, with every error by line (R1)."""
