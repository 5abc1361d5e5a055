"""The report page: data, scripts and styles of an HTML comparison of runs."""
