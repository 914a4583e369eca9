"""A network that reads query and item together: trained, weighed, examined, and a teacher for others."""
