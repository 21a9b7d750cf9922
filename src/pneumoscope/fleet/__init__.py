"""What hospitals and their hub say to one another, and the statistics of it: rules, without network or database."""
