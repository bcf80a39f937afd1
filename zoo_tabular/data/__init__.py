"""Tables as batches: from frames, arrays and Parquet files, and the network that fits them."""
