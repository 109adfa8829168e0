"""Small equivalents of the distribution's packages, under their names; `compat` chooses."""
