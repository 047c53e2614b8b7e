"""How ``beft`` reads words: groups of options in help, examples, other names, suggestions, and options from a file."""
