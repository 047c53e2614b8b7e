"""Parser of ``beft``'s command line: groups of options in help, examples, suggestions, and options from a file."""
