"""How each mail system writes its own bounces: one file each, with `recognise(parsed)`."""
