"""Facts about the world that lungfish must get right."""
