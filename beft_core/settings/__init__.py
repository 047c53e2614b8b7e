"""Settings as people write them: other names, several words, ranges; for command line, library and pages."""
