"""Files as every released format version wrote them, opened by `test_gallery.py` for ever.

`formatN/` holds packed files of one case a folder: an exported learner, weights, an encoder, a checkpoint of
a fit that was ended in the middle, from format 2 on prepared data, and `expected.json` with what they gave
when they were written. They are never written anew: a new version of a format gets a folder of its own, made
by (names of cases choose some of them)

    python -m tests.gallery.cases tests/gallery/format2
"""
