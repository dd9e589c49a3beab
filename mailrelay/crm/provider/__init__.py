"""Where records come from: one file for each CRM, and the bulk file for all others."""
