"""What everybody may reach: pixels, links, and pages for people who know nothing of us (O9, O15)."""
