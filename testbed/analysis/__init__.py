"""What the records say: order, digest, percentiles, intervals, where the time went. Pure: reads no file."""
