"""Events on their way to the CRM: signed, in order, again and again until they are taken (R6)."""
