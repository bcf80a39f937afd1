"""Pictures and their targets as batches.

A room a step: `sources` find pictures, `targets` say what belongs to each, `splits` which rows are for
training; every source hands over `SplitPictures`. `dataset` decodes and transforms a row, `loaders` makes
batches. `picture_data` and `image_data` hold them for a user; `raw` reads new pictures for a prediction.
"""
