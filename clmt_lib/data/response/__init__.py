"""Drug response: cell lines x drugs, from official releases or simulated."""
