"""What a query asks for: its category, stage and facets, read from the catalogue alone or by trained heads."""
