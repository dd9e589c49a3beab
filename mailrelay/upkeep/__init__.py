"""What keeps an installation in order: its data folder, its ledger, its service manager."""
