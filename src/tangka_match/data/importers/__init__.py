"""Readers of the feature and caption files that other programs write, and the writer of the precomp layout.

One file per family of formats. `features.open_features` and `captions.read_captions` recognise a format by the content
of the file; their tables are the registries. `join.join` pairs images, `assignment` makes the splits, and
`writer.write_split` writes them.
"""
