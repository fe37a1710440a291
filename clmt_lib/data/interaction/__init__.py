"""Drug-target interaction: proteins x drugs."""
