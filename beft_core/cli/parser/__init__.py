"""Parser of ``beft``'s command line: groups of options in help, examples, other names, suggestions, and options from a
file.
"""
