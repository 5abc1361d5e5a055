"""The comparison of runs as one HTML page: its data, and the scripts and styles that draw them."""
